"""Hashes of the code that a rule runs, so that an edit reruns the rules that it affects."""

import ast
import functools
import hashlib

from snakemake.exceptions import WorkflowError


@functools.cache
def hash_code(scripts, *names):
    """Return a hash of all library code that some files import, directly or indirectly, without comments.

    Parameters
    ----------
    scripts : Path
        Folder of the scripts and of the library.
    *names : str
        Scripts, and modules of the library that these load by name: paths in `scripts` without suffix.
    """
    paths = [scripts / name for name in names]
    files = set()
    for place in paths:
        files |= _imported_files(place.with_suffix(".py"), scripts) | _imported_files(place / "__init__.py", scripts)
    code = hashlib.sha256()
    for path in sorted(files):
        code.update(ast.dump(ast.parse(path.read_text())).encode())
    return code.hexdigest()[:16]


def _imported_files(path, scripts):
    """Return a Python file and the files of the library that it imports, directly or indirectly, as a set of Path."""
    imported, waiting = set(), [path]
    while waiting:
        path = waiting.pop()
        if path in imported or not path.is_file():
            continue
        imported.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("veloshard"):
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    place = scripts / name.replace(".", "/")
                    waiting += [place.with_suffix(".py"), place / "__init__.py"]
    return imported


@functools.cache
def declared_inputs(path):
    """Return the constant `INPUTS` of the module of a figure, without importing the module."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INPUTS":
            return ast.literal_eval(node.value)
    raise WorkflowError(f"{path} has no tuple INPUTS with the names of the files that the figure reads.")
