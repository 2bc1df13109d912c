"""Public functions that scripts call document their parameters and what they return (numpydoc)."""

import ast
import importlib
from pathlib import Path

import pytest
from numpydoc.validate import validate

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
# no "See Also", examples or extended summary is required
OPTIONAL = {"SA01", "EX01", "ES01"}


def called_functions():
    """Full names of the library's functions that a script calls."""
    functions = set()
    for path in [*SCRIPTS.glob("*.py"), *(SCRIPTS / "models").glob("*.py")]:
        tree = ast.parse(path.read_text())
        full_names = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("veloshard")
            for alias in node.names
        }
        for called in [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]:
            module, _, attribute = ast.unparse(called).rpartition(".")
            if attribute in full_names and not module:
                functions.add(full_names[attribute])
            elif module in full_names:
                functions.add(f"{full_names[module]}.{attribute}")
    return sorted(name for name in functions if is_function(name))


def is_function(name):
    module, _, attribute = name.rpartition(".")
    try:
        return callable(getattr(importlib.import_module(module), attribute)) and attribute.islower()
    except ModuleNotFoundError:  # a method of a class
        return False


def test_functions_are_found():
    assert "veloshard.io.prepared.load_prepared" in called_functions()


@pytest.mark.parametrize("name", called_functions())
def test_docstring_has_numpydoc_sections(name):
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"] if code not in OPTIONAL]
    assert not errors
