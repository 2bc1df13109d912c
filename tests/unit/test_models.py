"""Each of other people's models is whole: its program, description and environment say the same."""

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
    """The function `fit` of a program, as a tree: its imports are not here."""
    program = ast.parse((ROOT / f"workflow/scripts/models/{model}.py").read_text())
    return next(node for node in program.body if isinstance(node, ast.FunctionDef) and node.name == "fit")


def test_a_model_is_three_files_and_a_lock(model):
    assert (ROOT / f"workflow/schemas/methods/{model}.yaml").is_file()
    assert (ROOT / f"envs/{model}.yaml").is_file()
    assert (ROOT / f"envs/{model}.lock").is_file()


def test_no_file_is_left_of_a_model_that_is_gone():
    described = {name for name, description in DESCRIPTIONS.items() if description["kind"] == "model"}
    assert described == set(MODELS)


def test_its_description_has_the_options_of_its_program_and_their_defaults(model, description):
    arguments = fit_of(model).args
    assert [argument.arg for argument in arguments.args] == ["cells"]
    given = dict(zip([a.arg for a in arguments.kwonlyargs], arguments.kw_defaults, strict=True))
    assert given.pop("folder", None) is None
    defaults = {name: ast.literal_eval(default) for name, default in given.items()}
    assert defaults == {name: option["default"] for name, option in description["properties"].items()}


def test_its_description_says_what_users_and_the_workflow_ask_of_it(description):
    for part in ("title", "description", "license"):
        assert description[part]
    assert isinstance(description["experimental"], bool)
    assert {"megabytes", "bytes_per_entry", "seconds", "seconds_per_entry"} <= description["resources"].keys()
    assert "random_state" in description["properties"]
    for option in description["properties"].values():
        assert option["description"].endswith(".")
        assert "type" in option or "enum" in option


def test_its_defaults_and_its_smoke_options_are_allowed(description):
    check = Draft202012Validator({"properties": description["properties"], "additionalProperties": False})
    check.check_schema(description["properties"])
    check.validate(description.get("smoke", {}))
    check.validate({name: option["default"] for name, option in description["properties"].items()})


def test_it_imports_nothing_of_the_library(model):
    program = (ROOT / f"workflow/scripts/models/{model}.py").read_text()
    assert not re.search(r"^\s*(import|from) veloshard", program, flags=re.MULTILINE)
