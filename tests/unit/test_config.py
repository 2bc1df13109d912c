"""The schema of the config is complete, and the example configs match it."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from veloshard_planning.configuration import complete_config, config_schema
from veloshard_planning.methods import load_descriptions

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"
DESCRIPTIONS = load_descriptions(SCHEMAS)
SCHEMA = config_schema(SCHEMAS / "config.schema.yaml", DESCRIPTIONS)


def options_in(node, path=()):
    """Return all options below a node of the schema, by dotted key."""
    if "$ref" in node:
        node = {**SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[-1]], **node}
    options = {".".join(path): node} if "description" in node else {}
    for key, child in node.get("properties", {}).items():
        options |= options_in(child, (*path, key))
    return options


OPTIONS = (
    options_in({"properties": {key: node for key, node in SCHEMA["properties"].items() if key != "methods"}})
    | options_in(SCHEMA["$defs"]["dataset"], ("datasets", "<name>"))
    | {
        f"methods.{name}.{key}": option
        for name, description in DESCRIPTIONS.items()
        for key, option in description["properties"].items()
    }
)


def test_options_of_all_parts_are_found():
    assert {
        "genes_per_shard", "preprocess.n_pcs", "figures.palette", "fate_probabilities.n_states", "datasets.<name>.root",
        "datasets.<name>.preprocess.n_pcs", "datasets.<name>.vector_field.trajectories.n_cells",
        "trust.refit_models.controls", "methods.dynamical.solver", "methods.velovi.n_samples",
    } <= OPTIONS.keys()  # fmt: skip


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_is_described_and_typed(key):
    option = OPTIONS[key]
    assert option["description"].endswith(".")
    assert "type" in option or "enum" in option


@pytest.mark.parametrize("key", [key for key, option in OPTIONS.items() if "default" in option])
def test_every_default_is_allowed(key):
    Draft202012Validator({"$defs": SCHEMA["$defs"], **OPTIONS[key]}).validate(OPTIONS[key]["default"])


def objects_in(node, path="config"):
    """Yield all objects with fixed keys in the schema, with their paths."""
    if isinstance(node, dict):
        if "properties" in node and "type" in node:
            yield path, node
        for key, child in node.items():
            yield from objects_in(child, f"{path}.{key}")
    elif isinstance(node, list):
        for k, child in enumerate(node):
            yield from objects_in(child, f"{path}.{k}")


def test_unknown_keys_are_refused_at_every_level():
    open_objects = {path for path, node in objects_in(SCHEMA) if node.get("additionalProperties") is not False}
    # the description of its method closes an entry of `methods`
    assert open_objects == {"config.properties.methods.additionalProperties"}
    entry = SCHEMA["properties"]["methods"]["additionalProperties"]
    assert [case["then"]["additionalProperties"] for case in entry["allOf"]] == [False] * len(DESCRIPTIONS)


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_right(path):
    completed = complete_config(yaml.safe_load(path.read_text()), SCHEMAS, DESCRIPTIONS)
    assert completed["datasets"]
    assert completed["methods"]
