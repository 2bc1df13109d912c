"""The checked config, the traits of its methods, and the values that wildcards can have."""

import copy
import hashlib
import json
import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.ioutils import branch, collect, lookup

from veloshard_planning.code import declared_inputs, hash_code
from veloshard_planning.configuration import complete_config
from veloshard_planning.disk import estimate_disk
from veloshard_planning.methods import load_descriptions, resolve_traits
from veloshard_planning.sources import MATRIX_SUFFIXES, files_below, hash_content, source_paths

# the folder above this file, also if another workflow uses this one as a module
WORKFLOW = Path(workflow.current_basedir).parent
SCRIPTS = WORKFLOW / "scripts"

# a rule has the name of its script; one rule runs the script of another
RULES = sorted(path.stem for path in SCRIPTS.glob("*.py")) + ["run_model_on_negative_control"]

descriptions = load_descriptions(WORKFLOW / "schemas")
# `complete_config` returns a copy, because Snakemake reads this file several times if the workflow is used as a module
config = complete_config(config, WORKFLOW / "schemas", descriptions)
traits = resolve_traits(config, descriptions)

# methods with whose velocities those of all others are compared
REFERENCES = [name for name, description in descriptions.items() if description["traits"].get("is_reference")]

# the fit that all analyses read
fit_file = branch(
    lookup("{method}/is_refitted", within=traits),
    then="results/{dataset}/{method}/refit.h5",
    otherwise="results/{dataset}/{method}/fit.h5",
)

# jobs, also those on other machines, read this variable
os.environ.update(VELOSHARD_COMPILED=str(Path(config["compiled"]).absolute()))


def get_pattern(names):
    """Return a pattern that matches some names, and nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def get_methods(trait, value=True):
    """Return the names of the methods that have a trait."""
    return [name for name in traits if traits[name][trait] == value]


def get_code(*names):
    """Return a hash of the code that some scripts run, without comments, so that an edit reruns what it affects."""
    return hash_code(SCRIPTS, *names)


def get_method_code(*names):
    """Return a function for a param: the hash of the code of some scripts and of a native method."""
    return lambda wildcards: get_code(*names, f"veloshard/kinetics/methods/{traits[wildcards.method]['method']}")


wildcard_constraints:
    dataset=get_pattern(config["datasets"]),
    method=get_pattern(config["methods"]),
    figure=get_pattern({name: None for options in config["datasets"].values() for name in options["figures"]["draw"]}),
    gene_shard=r"\d+-of-\d+",
    cell_shard=r"\d+-of-\d+",
    control="permuted|thinned",
    basis="pca|embedding",
    perturbation="[A-Za-z0-9][A-Za-z0-9_.-]*",
    key="[0-9a-f]{8}",
