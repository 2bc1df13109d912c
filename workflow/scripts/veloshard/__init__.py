"""RNA velocity in parts: what the workflow's scripts load, call and save.

Imports go down only: files (store, readers, preprocess, assemble) > arrays (methods, graph, time, ...) > kernels.
"""

from veloshard import compiled

compiled.use_folder()
