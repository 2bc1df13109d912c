"""Folder of the compiled code: shared by all jobs, with a subfolder per processor type and version of the code.

Numba's own index recompiles a kernel if the kernel's file changes, but not if a function in another file that the
kernel calls changes. Numba also writes one index for all processor types, which is not safe if machines with different
processors write at the same time. A subfolder per processor type and version of the code avoids both.
"""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

from llvmlite import binding

# The workflow sets this environment variable.
VARIABLE = "VELOSHARD_COMPILED"


LIBRARY = Path(__file__).parents[1]


def set_cache_dir() -> None:
    """Set the folder of Numba's cache below the folder in the environment variable `VARIABLE`, if that is set.

    This has no effect after Numba was imported.
    """
    if VARIABLE in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(Path(os.environ[VARIABLE]) / cache_key())


def cache_key() -> str:
    """Return the name of the subfolder for this processor, Python, Numba and version of the library's code."""
    code = hashlib.sha256()
    for path in sorted(LIBRARY.rglob("*.py")):
        code.update(path.read_bytes())
    for part in (
        binding.get_host_cpu_features().flatten(),
        platform.python_version(),
        version("numba"),
        version("llvmlite"),
    ):
        code.update(part.encode())
    return f"{binding.get_host_cpu_name()}-{code.hexdigest()[:16]}"
