"""Figures of a vector field: one file per figure, with a function `draw(result, values, *, style)`.

`values` holds numpy arrays by name, as `load_arrays` returns them from one HDF5 file of a vector field analysis.
"""
