"""Locks install into empty environments whose packages can be imported, and Snakemake creates environments by conda."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

pytestmark = pytest.mark.deployment

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
# imports all modules of the packages that are named as arguments
IMPORT_ALL = """
import importlib, importlib.metadata as metadata, sys
names = {name for name, packages in metadata.packages_distributions().items() if set(packages) & set(sys.argv[1:])}
for name in sorted(names):
    importlib.import_module(name)
print(len(names))
"""


def pins(environment):
    """Return the packages that the yaml of an environment pins, whatever the Python."""
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    pins = next(part["pip"] for part in dependencies if isinstance(part, dict))
    return sorted({Requirement(pin).name for pin in pins})


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.stem)
def test_packages_of_a_lock_can_be_installed_and_imported(environment, tmp_path):
    packages = pins(environment)
    installation = subprocess.run(
        [ROOT / "envs/install.sh", environment.stem, tmp_path / "env"], capture_output=True, text=True
    )
    if "and there is none" in installation.stderr:
        pytest.skip(installation.stderr)
    assert installation.returncode == 0, installation.stderr
    python = tmp_path / "env/bin/python"
    process = subprocess.run([python, "-W", "ignore", "-c", IMPORT_ALL, *packages], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout.split()[-1]) >= len(packages) - 1


def test_snakemake_creates_the_environment_of_the_rules_by_a_stand_in_for_conda(
    with_standin, small_config, small_run, tmp_path
):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config()))
    fit = "results/demo/dynamical/fit.h5"
    process = subprocess.run(
        [
            sys.executable, "-m", "snakemake", fit, "--sdm", "conda", "--snakefile", ROOT / "workflow/Snakefile",
            "--directory", tmp_path, "--configfile", "config.yaml", "--cores", "2",
        ],
        cwd=tmp_path, env=with_standin("conda"), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Activating conda environment" in process.stdout + process.stderr
    assert (tmp_path / fit).read_bytes() == (small_run / "demo/dynamical/fit.h5").read_bytes()
