"""Compiled code is found again by whoever may run it, and made by many at once without harm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from veloshard import compiled

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
FIT = """
import hashlib, sys
from veloshard import methods, warm_up
from numba.core.dispatcher import Dispatcher

block, _ = warm_up.example()
fit = methods.run(block, method=sys.argv[1])
print(hashlib.sha256(fit.layers["velocity"].tobytes()).hexdigest())
modules = [module for name, module in sys.modules.items() if name.startswith("veloshard")]
kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


def start(folder, method):
    """A process that fits the example: it prints a hash of its velocities and how many kernels it had to compile."""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), compiled.VARIABLE: str(folder)}
    return subprocess.Popen([sys.executable, "-c", FIT, method], env=environment, stdout=subprocess.PIPE, text=True)


def answers(process):
    found, _ = process.communicate()
    assert process.returncode == 0
    velocities, n_compiled = found.split()
    return velocities, int(n_compiled)


@pytest.mark.parametrize("method", ["stochastic", pytest.param("dynamical", marks=pytest.mark.slow)])
def test_what_one_process_compiled_another_finds(tmp_path, method):
    first, second = answers(start(tmp_path, method)), answers(start(tmp_path, method))
    assert first[1] > 0
    assert second == (first[0], 0)
    assert [folder.name for folder in tmp_path.iterdir()] == [compiled.key()]


@pytest.mark.parametrize("method", ["stochastic", pytest.param("dynamical", marks=pytest.mark.slow)])
def test_many_may_compile_at_once(tmp_path, method):
    processes = [start(tmp_path, method) for _ in range(4)]
    found = [answers(process) for process in processes]
    assert len({velocities for velocities, _ in found}) == 1
    assert answers(start(tmp_path, method)) == (found[0][0], 0)


def test_another_processor_or_another_version_of_the_code_has_a_folder_of_its_own(tmp_path, monkeypatch):
    here = compiled.key()
    assert compiled.key() == here
    monkeypatch.setattr(compiled.binding, "get_host_cpu_name", lambda: "elsewhere")
    assert compiled.key().startswith("elsewhere-")
    monkeypatch.undo()
    monkeypatch.setattr(compiled, "LIBRARY", tmp_path)
    (tmp_path / "kernels.py").write_text("x = 1")
    before = compiled.key()
    (tmp_path / "kernels.py").write_text("x = 2")
    assert len({here, before, compiled.key()}) == 3


def test_without_a_folder_numba_is_left_alone(monkeypatch):
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    compiled.use_folder()
    assert "NUMBA_CACHE_DIR" not in os.environ
