"""The workflow in a container image, run by podman or docker, and by Snakemake with apptainer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_bitwise_identical import results

pytestmark = pytest.mark.deployment

ROOT = Path(__file__).parents[2]
IMAGE = "veloshard:latest"
ENGINE = shutil.which("podman") or shutil.which("docker")


@pytest.fixture(scope="module")
def run_in_image():
    """Return a function that runs a command in the image, without network and with access to one folder only."""
    if not ENGINE or subprocess.run([ENGINE, "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip("there is no image: `make image` builds it, with podman or docker")
    # limits that hosts with few capabilities allow, and runc, because crun refuses older cgroups
    limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=4000:4000"] if "podman" in ENGINE else []
    runtime = ["--runtime", "runc"] if limits and shutil.which("runc") else []

    # results of linear algebra depend on the processor type that OpenBLAS detects, or that its variables set
    openblas = [option for name in os.environ if name.startswith("OPENBLAS") for option in ("--env", name)]

    def run(folder, *command):
        options = ["--rm", *openblas, "--network", "none", *limits, "--volume", f"{folder}:/work", "--workdir", "/work"]
        return subprocess.run([ENGINE, *runtime, "run", *options, IMAGE, *command], capture_output=True, text=True)

    return run


@pytest.fixture
def working_folder(small_config, tmp_path):
    """Return a folder with a copy of the workflow and the small config."""
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config()))
    return tmp_path


def test_results_in_the_image_are_bitwise_identical_to_a_local_run(run_in_image, working_folder, small_run):
    process = run_in_image(working_folder, "snakemake", "--cores", "2", "--configfile", "config.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    expected, in_image = results(small_run), results(working_folder / "results")
    assert expected.keys() == in_image.keys()
    assert [path for path in expected if expected[path] != in_image[path]] == []


def test_image_has_all_packages_that_the_library_imports(run_in_image, working_folder):
    # without Snakemake, which would add packages of the host
    code = (
        "import sys; sys.path.insert(0, 'workflow/scripts'); import importlib, pathlib\n"
        "for path in pathlib.Path('workflow/scripts/veloshard').rglob('*.py'):\n"
        "    importlib.import_module('.'.join(path.relative_to('workflow/scripts').with_suffix('').parts))"
    )
    process = run_in_image(working_folder, "python", "-c", code)
    assert process.returncode == 0, process.stderr


def test_snakemake_runs_each_job_in_the_image_by_a_stand_in_for_apptainer(
    run_in_image, with_standin, working_folder, small_run
):
    if not shutil.which("bwrap"):
        pytest.skip("the stand-in needs bubblewrap")
    image = working_folder / "image"
    image.mkdir()
    name = subprocess.run([ENGINE, "create", IMAGE, "true"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        with subprocess.Popen([ENGINE, "export", name], stdout=subprocess.PIPE) as export:
            subprocess.run(["tar", "-x", "-C", image], stdin=export.stdout, check=True)
    finally:
        subprocess.run([ENGINE, "rm", name], capture_output=True, check=True)
    config = yaml.safe_load((working_folder / "config.yaml").read_text()) | {"container": "image"}
    (working_folder / "config.yaml").write_text(yaml.safe_dump(config))
    fit = "results/demo/dynamical/fit.h5"
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", fit, "--sdm", "apptainer", "--cores", "2", "--configfile", "config.yaml"],
        cwd=working_folder, env=with_standin("apptainer"), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Activating singularity image" in process.stderr + process.stdout
    assert (working_folder / fit).read_bytes() == (small_run / "demo/dynamical/fit.h5").read_bytes()


def test_missing_image_is_named(with_standin, working_folder):
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--sdm", "apptainer", "--cores", "2", "--configfile", "config.yaml"],
        cwd=working_folder, env=with_standin("apptainer"), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode != 0
    assert "veloshard.sif" in process.stdout + process.stderr
