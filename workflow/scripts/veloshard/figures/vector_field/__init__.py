"""Figures of a learned vector field: `draw(result, found, *, style)` of a result and what was found in its field.

`found` holds numpy arrays by name, as one HDF5 file does; each figure says which.  A figure is a file, found by its
name.
"""
