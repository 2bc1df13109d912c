"""Figures of all methods of a dataset: `draw(comparison, *, style)` of an `evaluation.comparison` result.

The workflow draws all of them. Each figure is a module that is found by its name.
"""
