"""What the rules share: the checked config, wildcards, and hashes of the code that they run."""

import ast
import copy
import csv
import difflib
import functools
import hashlib
import json
import os
import re
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match
from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.current_basedir).parent  # that of this file: another's, who uses ours as a module, has its own
SCHEMA = WORKFLOW / "schemas/config.schema.yaml"
MODEL_SCHEMAS = WORKFLOW / "schemas/models"
SAMPLES_SCHEMA = WORKFLOW / "schemas/samples.schema.yaml"
SCRIPTS = WORKFLOW / "scripts"

# a rule is named like its script; one rule runs the script of another
RULES = sorted(path.stem for path in SCRIPTS.glob("*.py")) + ["run_model_on_negative_control"]


def name_methods(config):
    """The config with `method` set in each entry of `methods`: by default an entry's name is its method."""
    entries = config.get("methods")
    if not isinstance(entries, dict):
        return config
    entries = {name: {"method": name, **(entry or {})} for name, entry in entries.items()}
    return {**config, "methods": entries}


def add_samples(config):
    """The config with the datasets of its table of samples, and with `defaults` in each dataset."""
    defaults, datasets = config.get("defaults", {}), config.get("datasets", {})
    nests = [defaults, datasets, *(datasets.values() if isinstance(datasets, dict) else ())]
    if not all(isinstance(nest, dict) for nest in nests):
        return config  # which is refused for it
    if not isinstance(defaults.get("annotations", {}), dict):
        raise WorkflowError("Config, defaults.annotations: give options, such as {source: cells.csv}")
    named = dict(datasets)
    for place, row in read_samples(config["samples"]) if "samples" in config else ():
        options = named[row["dataset"]] = dict(named.get(row["dataset"]) or {})
        if row.get("annotations"):
            own = options.get("annotations") or {}
            if own.get("source", row["annotations"]) != row["annotations"]:
                raise WorkflowError(
                    f"{place}: dataset {row['dataset']!r} has annotations in {own['source']} and in "
                    f"{row['annotations']}. Put those of all its samples into one file."
                )
            options["annotations"] = {**(defaults.get("annotations") or {}), **own, "source": row["annotations"]}
        if not row.get("sample"):
            if {"source", "samples"} & options.keys():
                raise WorkflowError(f"{place}: dataset {row['dataset']!r} has several rows; name the sample of each.")
            options["source"] = row["source"]
            continue
        options["samples"] = dict(options.get("samples", {}))
        if row["sample"] in options["samples"]:
            raise WorkflowError(f"{place}: sample {row['sample']!r} of dataset {row['dataset']!r} is there twice.")
        options["samples"][row["sample"]] = row["source"]
    named = {name: {**defaults, **options} if isinstance(options, dict) else options for name, options in named.items()}
    return {**config, "datasets": named}


def read_samples(path):
    """Rows of a table of samples, each with its place in the file; WorkflowError for what is wrong in one."""
    with SAMPLES_SCHEMA.open() as file:
        schema = yaml.safe_load(file)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [(reader.line_num, row) for reader in [csv.DictReader(file, delimiter="\t")] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WorkflowError(f"Config, samples: {path} cannot be read ({error}).") from None
    if not rows:
        raise WorkflowError(f"{path} has no rows. It needs the columns dataset and source, separated by tabs.")
    for number, row in rows:
        if None in row:
            raise WorkflowError(f"{path}, line {number}: there are more fields than columns.")
        given = {column: value for column, value in row.items() if value}
        error = best_match(Draft202012Validator(schema).iter_errors(given))
        if error:
            column = "".join(f", {part}" for part in error.absolute_path)
            raise WorkflowError(f"{path}, line {number}{column}: {explain(error)}")
    return [(f"{path}, line {number}", row) for number, row in rows]


def in_order(nest):
    """A nest with the keys of all its dicts in order: in another order they are no change that reruns anything."""
    return {key: in_order(nest[key]) for key in sorted(nest, key=str)} if isinstance(nest, dict) else nest


def load_models():
    """Description of each of other people's models, by its name: what its file says."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(MODEL_SCHEMAS.glob("*.yaml"))}


def config_schema(models):
    """Schema of the config: a model's options are what is known in its entry of `methods`."""
    with SCHEMA.open() as file:
        schema = yaml.safe_load(file)
    entry = schema["properties"]["methods"]["additionalProperties"]
    for name, model in models.items():
        entry["properties"]["method"]["enum"].append(name)
        entry["allOf"].append(
            {
                "if": {"properties": {"method": {"const": name}}},
                "then": {"properties": {"method": {}, **model["properties"]}, "additionalProperties": False},
            }
        )
    return schema


def check_config(config, schema):
    """Raise WorkflowError that names the key, what is wrong with it and what was perhaps meant."""
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path) or "top level"
    raise WorkflowError(
        f"Config, {key}: {explain(error)} (options are described in config/README.md, those of other people's models in "
        "workflow/schemas/models)"
    )


def fill_in_defaults(config, schema):
    """Set what a sound config leaves out, as jsonschema's documentation does it."""

    def set_defaults(validator, properties, instance, schema):
        for key, option in properties.items():
            if "default" in option:
                instance.setdefault(key, copy.deepcopy(option["default"]))
        yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)

    validators.extend(Draft202012Validator, {"properties": set_defaults})(schema).validate(config)


def explain(error):
    """What a schema's error says to whoever wrote the config."""
    if error.validator in ("additionalProperties", "enum"):
        allowed = [str(name) for name in error.schema.get("properties", error.validator_value or ())]
        given = error.instance if isinstance(error.instance, dict) else [error.instance]
        wrong = next(str(name) for name in given if str(name) not in allowed)
        near = difflib.get_close_matches(wrong, allowed, n=1)
        guess = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(allowed)}"
        return f"{wrong!r} is unknown; {guess}"
    if error.validator == "oneOf":
        ways = " or ".join(way["const"] if "const" in way else way["required"][0] for way in error.validator_value)
        return f"give {ways}, and only one of them"
    if error.validator == "anyOf":
        return f"give {' or '.join(way['required'][0] for way in error.validator_value)}"
    if error.validator == "not":
        return f"give {' or '.join(error.validator_value['required'])}, and not both"
    if "propertyNames" in error.absolute_schema_path and not isinstance(error.instance, str):
        return f"write the name {error.instance!r} in quotes"
    if error.validator == "pattern":
        return f"{error.instance!r} is not of the form {error.validator_value}"
    return error.message


# a config of its own: who uses this as a module has it read several times
config = name_methods(add_samples(copy.deepcopy(config)))
models = load_models()
check_config(config, config_schema(models))
fill_in_defaults(config, config_schema(models))
config = in_order(config)

# jobs inherit it, those on other machines too: they read this file again
os.environ.update(VELOSHARD_COMPILED=str(Path(config["compiled"]).absolute()))


def one_of(names):
    """Pattern of a wildcard that is one of some names, or of none at all."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset="|".join(map(re.escape, config["datasets"])),
    method="|".join(map(re.escape, config["methods"])),
    figure="|".join(config["figures"]["draw"]),
    gene_shard=r"\d+-of-\d+",
    cell_shard=r"\d+-of-\d+",
    control="permuted|thinned",
    basis="pca|embedding",
    perturbation="[A-Za-z0-9][A-Za-z0-9_.-]*",
    key="[0-9a-f]{8}",


def imported_files(path):
    """Files of the library that a Python file imports, itself included, however indirectly."""
    found, waiting = set(), [path]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("veloshard"):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                for name in names:
                    place = SCRIPTS / name.replace(".", "/")
                    waiting += [place.with_suffix(".py"), place / "__init__.py"]
    return found


@functools.cache
def code_of(*names):
    """Hash of all library code that some scripts run, so that an edit reruns what it touches; comments aside.

    names : scripts, and modules of the library that they load by name, seen from their folder and without suffix.
    """
    places = [SCRIPTS / name for name in names]
    files = set().union(*(imported_files(p.with_suffix(".py")) | imported_files(p / "__init__.py") for p in places))
    code = hashlib.sha256()
    for path in sorted(files):
        code.update(ast.dump(ast.parse(path.read_text())).encode())
    return code.hexdigest()[:16]
