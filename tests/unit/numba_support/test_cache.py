"""Compiled code is reused by other processes, and many processes may compile at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from veloshard.numba_support import cache

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"
FIT = """
import hashlib, sys
from veloshard import compilation
from veloshard.kinetics import methods
from numba.core.dispatcher import Dispatcher

block, _ = compilation.simulate_block()
fit = methods.run(block, method=sys.argv[1])
print(hashlib.sha256(fit.layers["velocity"].tobytes()).hexdigest())
modules = [module for name, module in sys.modules.items() if name.startswith("veloshard")]
kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


def start(folder, method):
    """Start a process that fits simulated cells and prints a hash of the velocities and the number of compilations."""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), cache.VARIABLE: str(folder)}
    return subprocess.Popen([sys.executable, "-c", FIT, method], env=environment, stdout=subprocess.PIPE, text=True)


def output(process):
    """Return the hash of the velocities and the number of compiled kernels."""
    text, _ = process.communicate()
    assert process.returncode == 0
    velocity_hash, n_compiled = text.split()
    return velocity_hash, int(n_compiled)


@pytest.mark.parametrize("method", ["stochastic", pytest.param("dynamical", marks=pytest.mark.slow)])
def test_compiled_code_is_reused_by_another_process(tmp_path, method):
    first, second = output(start(tmp_path, method)), output(start(tmp_path, method))
    assert first[1] > 0
    assert second == (first[0], 0)
    assert [folder.name for folder in tmp_path.iterdir()] == [cache.cache_key()]


@pytest.mark.parametrize("method", ["stochastic", pytest.param("dynamical", marks=pytest.mark.slow)])
def test_many_processes_may_compile_at_once(tmp_path, method):
    processes = [start(tmp_path, method) for _ in range(4)]
    outputs = [output(process) for process in processes]
    assert len({velocity_hash for velocity_hash, _ in outputs}) == 1
    assert output(start(tmp_path, method)) == (outputs[0][0], 0)


def test_folder_depends_on_the_processor_and_the_code(tmp_path, monkeypatch):
    key = cache.cache_key()
    assert cache.cache_key() == key
    monkeypatch.setattr(cache.binding, "get_host_cpu_name", lambda: "elsewhere")
    assert cache.cache_key().startswith("elsewhere-")
    monkeypatch.undo()
    monkeypatch.setattr("veloshard.numba_support.cache.LIBRARY", tmp_path)
    (tmp_path / "kernels.py").write_text("x = 1")
    before = cache.cache_key()
    (tmp_path / "kernels.py").write_text("x = 2")
    assert len({key, before, cache.cache_key()}) == 3


def test_numba_cache_is_not_set_without_a_folder(monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache.set_cache_dir()
    assert "NUMBA_CACHE_DIR" not in os.environ
