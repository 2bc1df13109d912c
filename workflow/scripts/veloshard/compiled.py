"""Where compiled code lies: one folder for all jobs, and in it one for each processor and version of the code.

Numba knows a kernel by the file that it stands in, so that an edit of what the kernel calls would go unseen, and
keeps the code of all processors in one index, which machines of different make would write at once.
"""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

from llvmlite import binding

# Set by the workflow from the option `compiled`.
VARIABLE = "VELOSHARD_COMPILED"
LIBRARY = Path(__file__).parent


def use_folder():
    """Let Numba keep compiled code below the folder in `VARIABLE`, if that is set: before Numba is imported."""
    if VARIABLE in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(Path(os.environ[VARIABLE]) / key())


def key():
    """Name of the folder for this processor, Python, Numba and the library's code as it is."""
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
