"""The workflow in a container image, by podman or docker, and by Snakemake's own way to apptainer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_same_bits import results

pytestmark = pytest.mark.deployment

ROOT = Path(__file__).parents[2]
IMAGE = "veloshard:latest"
ENGINE = shutil.which("podman") or shutil.which("docker")


@pytest.fixture(scope="module")
def run_in_image():
    """Function that runs a command in the image, without a network and with this folder alone; returns the process."""
    if not ENGINE or subprocess.run([ENGINE, "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip("there is no image: `make image` builds it, with podman or docker")
    # what hosts without some capabilities can give; runc, as crun refuses older cgroups
    limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=4000:4000"] if "podman" in ENGINE else []
    runtime = ["--runtime", "runc"] if limits and shutil.which("runc") else []

    # bits of linear algebra depend on the kind of processor that OpenBLAS sees, or is told to see
    told = [option for name in os.environ if name.startswith("OPENBLAS") for option in ("--env", name)]

    def run(folder, *command):
        options = ["--rm", *told, "--network", "none", *limits, "--volume", f"{folder}:/work", "--workdir", "/work"]
        return subprocess.run([ENGINE, *runtime, "run", *options, IMAGE, *command], capture_output=True, text=True)

    return run


@pytest.fixture
def workplace(small_config, tmp_path):
    """Folder with a copy of the workflow and the small config."""
    for name in ("Snakefile", "workflow", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config()))
    return tmp_path


def test_the_workflow_in_the_image_gives_the_bits_of_a_run_on_this_machine(run_in_image, workplace, small_run):
    process = run_in_image(workplace, "snakemake", "--cores", "2", "--configfile", "config.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    expected, found = results(small_run), results(workplace / "results")
    assert expected.keys() == found.keys()
    assert [path for path in expected if expected[path] != found[path]] == []


def test_the_image_has_all_that_the_library_imports(run_in_image, workplace):
    # Snakemake would lend what is missing from the host
    code = (
        "import sys; sys.path.insert(0, 'workflow/scripts'); import importlib, pathlib\n"
        "for path in pathlib.Path('workflow/scripts/veloshard').rglob('*.py'):\n"
        "    importlib.import_module('.'.join(path.relative_to('workflow/scripts').with_suffix('').parts))"
    )
    process = run_in_image(workplace, "python", "-c", code)
    assert process.returncode == 0, process.stderr


def test_snakemake_runs_each_job_in_the_image_by_a_stand_in_for_apptainer(
    run_in_image, with_standin, workplace, small_run
):
    if not shutil.which("bwrap"):
        pytest.skip("no bubblewrap, which the stand-in needs")
    image = workplace / "image"
    image.mkdir()
    name = subprocess.run([ENGINE, "create", IMAGE, "true"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        with subprocess.Popen([ENGINE, "export", name], stdout=subprocess.PIPE) as export:
            subprocess.run(["tar", "-x", "-C", image], stdin=export.stdout, check=True)
    finally:
        subprocess.run([ENGINE, "rm", name], capture_output=True, check=True)
    config = yaml.safe_load((workplace / "config.yaml").read_text()) | {"container": "image"}
    (workplace / "config.yaml").write_text(yaml.safe_dump(config))
    fit = "results/demo/dynamical/fit.h5"
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", fit, "--sdm", "apptainer", "--cores", "2", "--configfile", "config.yaml"],
        cwd=workplace, env=with_standin("apptainer"), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    # by Snakemake's own account in the log of each job's environment
    assert "Activating singularity image" in process.stderr + process.stdout
    assert (workplace / fit).read_bytes() == (small_run / "demo/dynamical/fit.h5").read_bytes()


def test_a_lost_image_is_named(with_standin, workplace):
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--sdm", "apptainer", "--cores", "2", "--configfile", "config.yaml"],
        cwd=workplace, env=with_standin("apptainer"), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode != 0
    assert "veloshard.sif" in process.stdout + process.stderr
