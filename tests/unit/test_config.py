"""The options are the same in the schema, on the page that explains them and in the examples."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
PAGE = (ROOT / "config/README.md").read_text()
METHODS = SCHEMA["properties"]["methods"]["additionalProperties"]["properties"]["method"]["enum"]


def resolved(node):
    """The part of the schema that a node stands for."""
    return SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node


def options(node, path=()):
    """All options below a node, {dotted key: its part of the schema}."""
    node = resolved(node)
    if "properties" not in node:
        return {".".join(path): node}
    found = {}
    for key, child in node["properties"].items():
        found |= options(child, (*path, key))
    return found


def known_options():
    top = SCHEMA["properties"]
    found = options({"properties": {key: top[key] for key in top if key not in ("datasets", "methods")}})
    dataset = SCHEMA["$defs"]["dataset"]
    found |= options(dataset, ("datasets", "<name>")) | {"datasets.<name>.simulate": dataset["properties"]["simulate"]}
    for method in METHODS:
        found |= options(SCHEMA["$defs"][method], ("methods", "<name>"))
    return found


def documented_options():
    """{dotted key: default as written} of all tables of the page."""
    return dict(re.findall(r"^\| `([\w.<>]+)` \| ([^|]+) \|", PAGE, flags=re.MULTILINE))


def test_the_page_has_every_option_and_no_other():
    assert documented_options().keys() == known_options().keys()


@pytest.mark.parametrize("key", known_options())
def test_the_page_has_the_default_of_the_schema(key):
    written, option = documented_options()[key], known_options()[key]
    default = option.get("default")
    if key == "figures.draw":
        assert written == "all"
        assert default == option["items"]["enum"]
    elif default in (None, []):
        assert written == "–"
    else:
        assert written == (default if isinstance(default, str) else json.dumps(default))


@pytest.mark.parametrize("key", [key for key in known_options() if not key.endswith(".method")])
def test_every_option_is_described_and_typed(key):
    option = known_options()[key]
    assert option["description"].endswith(".")
    assert "type" in option or "enum" in option


def objects(node, path="config"):
    """All objects with fixed keys in the schema."""
    if isinstance(node, dict):
        if "properties" in node and "if" not in path:
            yield path, node
        for key, child in node.items():
            yield from objects(child, f"{path}.{key}")
    elif isinstance(node, list):
        for k, child in enumerate(node):
            yield from objects(child, f"{path}.{k}")


def test_unknown_keys_are_refused_at_every_level():
    open_to_any = {
        path
        for path, node in objects(SCHEMA)
        if node.get("additionalProperties") is not False and not path.endswith(".if")
    }
    # an entry of `methods` is closed by the definition of its method
    assert open_to_any == {"config.properties.methods.additionalProperties"}


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_right(path):
    config = yaml.safe_load(path.read_text())
    for name, entry in config["methods"].items():
        entry.setdefault("method", name)
    errors = Draft202012Validator(SCHEMA).iter_errors(config)
    assert [error.message for error in errors] == []
