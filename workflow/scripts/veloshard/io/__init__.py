"""Readers of count files, and the files that rules hand to each other."""

import os
from typing import TypeAlias

FilePath: TypeAlias = str | os.PathLike[str]
