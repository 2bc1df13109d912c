"""RNA velocity in parts: what the workflow's scripts load, call and save.

Imports go down only: files (store, readers, preprocess, assemble) > arrays (methods, graph, time, ...) > kernels.
"""

from veloshard import compiled

__version__ = "0.1.0"

compiled.use_folder()
