"""Imports go down only: files know arrays, arrays know kernels, and nothing below knows what is above."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/veloshard"

# the rooms that know AnnData, tables and files
FILES = {
    "store", "readers", "samples", "annotations", "ingest", "options", "preprocess", "quality", "selection", "assemble",
    "figures", "pages", "tables", "provenance", "controls", "ranking", "cell_cycle",
    "exchange", "external", "dynamo", "comparison", "fields",
}  # fmt: skip
# what any room may use
COMMON = {"errors"}
KERNELS = {"splicing", "elementary"}
FILE_PACKAGES = {"anndata", "scanpy", "h5py", "pandas", "matplotlib"}


def imported(path):
    """Full names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(names):
    """Rooms of the library among imported names."""
    return {name.split(".")[1] for name in names if name.startswith("veloshard.")}


def room_of(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


MODULES = sorted(path for path in LIBRARY.rglob("*.py") if room_of(path) != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_module_imports_only_what_lies_below(path):
    names, room = imported(path), room_of(path)
    if room in KERNELS:
        assert rooms(names) <= KERNELS
        assert {name.split(".")[0] for name in names} <= {"math", "numpy", "numba", "llvmlite", "veloshard"}
    elif room not in FILES:
        assert rooms(names).isdisjoint(FILES)
        assert {name.split(".")[0] for name in names}.isdisjoint(FILE_PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_the_library_does_not_import_snakemake(path):
    assert "snakemake" not in {name.split(".")[0] for name in imported(path)}


def test_rules_do_not_import_the_library():
    # Snakemake parses them again in every cluster job
    for path in [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        code = path.read_text()
        assert "import veloshard" not in code
        assert "from veloshard import" not in code


def test_each_script_belongs_to_a_rule_of_its_name():
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for script in (ROOT / "workflow/scripts").glob("*.py"):
        assert f"rule {script.stem}:" in rules or f"checkpoint {script.stem}:" in rules
        assert f'"../scripts/{script.name}"' in rules
