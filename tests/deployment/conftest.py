"""Fixture that puts stand-ins for conda and apptainer on the path."""

import os
import shutil
import sys
from pathlib import Path

import pytest

STANDINS = Path(__file__).parent / "standins"


@pytest.fixture
def with_standin(tmp_path):
    """Return a function that gives environment variables with which a program is replaced by its stand-in."""

    def environment(name):
        folder = tmp_path / "prefix/bin"
        folder.mkdir(parents=True)
        for file in (name, "activate"):
            shutil.copy(STANDINS / file, folder)
        return {**os.environ, "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    return environment
