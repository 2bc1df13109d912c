"""Figures of all methods of a dataset together: `draw(compared, *, style)` of a `comparison.Compared`.

As of a result, a figure is a file, found by its name; the workflow draws all of them.
"""
