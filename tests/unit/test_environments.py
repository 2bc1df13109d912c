"""Locks have the pins of the environments, with hashes and without local paths; each gets a Python that it supports."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/veloshard"
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE_VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def python_versions(environment):
    """Return the versions of Python that an environment supports, as envs/python.sh reads them."""
    python = re.search(r"^ *- python=([\d.]+)(?:  # or ([\d., ]+))?", environment.read_text(), flags=re.MULTILINE)
    return [python[1], *(python[2] or "").replace(",", " ").split()]


def active(requirements, python):
    """Return {name==version} of the requirements whose markers hold for a version of Python on Linux."""
    machine = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    parsed = map(Requirement, requirements)
    return sorted(f"{r.name}{r.specifier}" for r in parsed if r.marker is None or r.marker.evaluate(machine))


def pins(environment):
    """Return the pins of an environment."""
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    return next(part["pip"] for part in dependencies if isinstance(part, dict))


def locked(environment):
    """Return the requirements of a lock as {requirement: hashes}."""
    lines = environment.with_suffix(".lock").read_text().replace("\\\n", " ").splitlines()
    pairs = (line.partition("--hash") for line in lines if not line.startswith("#"))
    return {requirement.strip(): separator + hashes for requirement, separator, hashes in pairs}


@pytest.fixture(params=ENVIRONMENTS, ids=lambda path: path.stem)
def environment(request):
    return request.param


def test_lock_has_every_pin_that_is_not_marked_as_unlocked(environment):
    # envs/install.sh reads the same comment
    unlocked = set(re.findall(r"^ *- (\S+==\S+)  # unlocked", environment.read_text(), flags=re.MULTILINE))
    assert {pin.split("==")[0] for pin in unlocked} <= {"torch"}
    assert pins(environment)
    for python in python_versions(environment):
        assert set(active(pins(environment), python)) - set(active(locked(environment), python)) == unlocked


def test_every_requirement_has_one_version_and_hashes(environment):
    for requirement, hashes in locked(environment).items():
        assert re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+( ; [\w'.<>=!() ]+)?", requirement)
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64}\s*)+", hashes)
    for python in python_versions(environment):
        names = [requirement.split("==")[0] for requirement in active(locked(environment), python)]
        assert len(set(names)) == len(names) > 20


def test_lock_names_no_index_or_path(environment):
    text = environment.with_suffix(".lock").read_text()
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|file:", text)


def test_package_and_lock_support_the_same_versions_of_python():
    core = ROOT / "envs/core.yaml"
    assert python_versions(core) == CORE_VERSIONS
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    minors = [f"3.{minor}" for minor in range(30)]
    assert [python for python in minors if supported.contains(python)] == CORE_VERSIONS
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", name) for name in PROJECT["classifiers"]]
    assert [match[1] for match in named if match] == CORE_VERSIONS


@pytest.mark.parametrize("python", CORE_VERSIONS)
def test_locked_versions_satisfy_the_dependencies_of_the_package(python):
    versions = dict(pin.split("==") for pin in active(locked(ROOT / "envs/core.yaml"), python))
    dependencies = [Requirement(dependency) for dependency in PROJECT["dependencies"]]
    assert {r.name: versions[r.name] for r in dependencies if not r.specifier.contains(versions[r.name])} == {}


def test_package_depends_on_what_the_library_imports():
    imported = set()
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    distributions = packages_distributions()
    imported = {distributions[name][0] for name in imported - sys.stdlib_module_names - {"veloshard"}}
    assert imported == {Requirement(dependency).name for dependency in PROJECT["dependencies"]}


@pytest.fixture
def choose_python(tmp_path):
    """Return a function that runs envs/python.sh where the given programs, {name: version}, are the only Pythons."""

    def choose(*arguments, programs, **variables):
        for name in ("python3", *(f"python{version}" for version in CORE_VERSIONS)):
            answer = f"echo {programs[name]} /path/{name}" if name in programs else "exit 127"
            (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
            (tmp_path / name).chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHON"} | variables
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        command = [ROOT / "envs/python.sh", *arguments]
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        return process.stdout.strip() or process.stderr

    return choose


@pytest.mark.parametrize(
    ("arguments", "programs", "chosen"),
    [
        (["core"], {"python3": "3.12", "python3.12": "3.12", "python3.13": "3.13"}, "/path/python3"),
        (["core"], {"python3": "3.10", "python3.11": "3.11", "python3.12": "3.12"}, "/path/python3.12"),
        (["core", "--newest"], {"python3": "3.12", "python3.11": "3.11", "python3.13": "3.13"}, "/path/python3.13"),
        (["cellrank"], {"python3": "3.11", "python3.12": "3.12", "python3.13": "3.13"}, "/path/python3.12"),
    ],
)
def test_python_is_python3_where_it_is_supported_and_otherwise_the_newest(choose_python, arguments, programs, chosen):
    assert choose_python(*arguments, programs=programs) == chosen


def test_named_python_is_taken_or_refused(choose_python):
    programs = {"python3": "3.12", "python3.11": "3.11", "python3.13": "3.10"}
    assert choose_python("core", programs=programs, PYTHON="python3.11") == "/path/python3.11"
    refused = choose_python("core", programs=programs, PYTHON="python3.13")
    assert "needs Python 3.11, 3.12, 3.13 or 3.14 with venv, and PYTHON=python3.13 is not one" in refused
    assert choose_python("cellrank", programs=programs, PYTHON="python3.13") == (
        "the environment cellrank needs Python 3.12 with venv, and there is none; try: make PYTHON=/path/to/python\n"
    )


def test_supported_python_that_is_not_found_is_named(choose_python):
    assert "core needs Python 3.11, 3.12, 3.13 or 3.14 with venv, and there is none" in choose_python(
        "core", programs={"python3": "3.10"}
    )
