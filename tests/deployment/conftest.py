"""Runs of the small workflow by which those in images and environments are judged, and the programs that make them."""

import os
import shutil
import sys
from pathlib import Path

import pytest

STANDINS = Path(__file__).parent / "standins"


@pytest.fixture
def with_standin(tmp_path):
    """Function that gives the environment in which a program is its stand-in."""

    def environment(name):
        folder = tmp_path / "prefix/bin"
        folder.mkdir(parents=True)
        for file in (name, "activate"):
            shutil.copy(STANDINS / file, folder)
        return {**os.environ, "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    return environment
