"""Each model of another group has a program, a description and an environment, which agree."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from veloshard_planning.methods import load_descriptions

ROOT = Path(__file__).parents[2]
DESCRIPTIONS = load_descriptions(ROOT / "workflow/schemas")
MODELS = sorted(path.stem for path in (ROOT / "workflow/scripts/models").glob("*.py"))


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def description(model):
    return yaml.safe_load((ROOT / f"workflow/schemas/methods/{model}.yaml").read_text())


def fit_of(model):
    """Return the syntax tree of the function `fit` of a program, whose imports are not installed here."""
    program = ast.parse((ROOT / f"workflow/scripts/models/{model}.py").read_text())
    return next(node for node in program.body if isinstance(node, ast.FunctionDef) and node.name == "fit")


def test_a_model_is_three_files_and_a_lock(model):
    assert (ROOT / f"workflow/schemas/methods/{model}.yaml").is_file()
    assert (ROOT / f"envs/{model}.yaml").is_file()
    assert (ROOT / f"envs/{model}.lock").is_file()


def test_every_description_of_a_model_has_a_program():
    described = {name for name, description in DESCRIPTIONS.items() if description["kind"] == "model"}
    assert described == set(MODELS)


def test_the_description_has_the_options_of_the_program_and_their_defaults(model, description):
    arguments = fit_of(model).args
    assert [argument.arg for argument in arguments.args] == ["cells"]
    default_of = dict(zip([a.arg for a in arguments.kwonlyargs], arguments.kw_defaults, strict=True))
    assert default_of.pop("folder", None) is None
    defaults = {name: ast.literal_eval(default) for name, default in default_of.items()}
    assert defaults == {name: option["default"] for name, option in description["properties"].items()}


def test_the_description_is_complete(description):
    for part in ("title", "description", "license"):
        assert description[part]
    assert isinstance(description["experimental"], bool)
    assert {"megabytes", "bytes_per_entry", "seconds", "seconds_per_entry"} <= description["resources"].keys()
    assert "random_state" in description["properties"]
    for option in description["properties"].values():
        assert option["description"].endswith(".")
        assert "type" in option or "enum" in option


def test_defaults_and_options_of_the_smoke_test_are_allowed(description):
    check = Draft202012Validator({"properties": description["properties"], "additionalProperties": False})
    check.check_schema(description["properties"])
    check.validate(description.get("smoke", {}))
    check.validate({name: option["default"] for name, option in description["properties"].items()})


def test_the_program_does_not_import_the_library(model):
    program = (ROOT / f"workflow/scripts/models/{model}.py").read_text()
    assert not re.search(r"^\s*(import|from) veloshard", program, flags=re.MULTILINE)
