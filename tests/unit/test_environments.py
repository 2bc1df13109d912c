"""The locks in envs/ have the pins of the environments, with hashes and without local paths."""

import re
from pathlib import Path

import pytest
import yaml

ENVIRONMENTS = sorted((Path(__file__).parents[2] / "envs").glob("*.yaml"))


def requirements(lock):
    """Return the requirements of a lock as {name==version: hashes}."""
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    return dict(pairs)


@pytest.fixture(params=ENVIRONMENTS, ids=lambda path: path.stem)
def environment(request):
    return request.param


@pytest.fixture
def locked(environment):
    return requirements(environment.with_suffix(".lock"))


def test_lock_has_every_pin_that_is_not_marked_as_unlocked(environment, locked):
    dependencies = yaml.safe_load(environment.read_text())["dependencies"]
    pins = next(part["pip"] for part in dependencies if isinstance(part, dict))
    assert pins
    # envs/install.sh reads the same comment
    unlocked = set(re.findall(r"^ *- (\S+==\S+)  # unlocked", environment.read_text(), flags=re.MULTILINE))
    assert set(pins) - set(locked) == unlocked
    assert {pin.split("==")[0] for pin in unlocked} <= {"torch"}


def test_every_requirement_has_one_version_and_hashes(locked):
    for requirement, hashes in locked.items():
        assert re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+", requirement)
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64}\s*)+", hashes)


def test_lock_names_no_index_or_path(environment):
    text = environment.with_suffix(".lock").read_text()
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|file:", text)
