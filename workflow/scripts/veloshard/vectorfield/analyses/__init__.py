"""Analyses of the vector fields of a dataset: each returns arrays for a figure, tables, or both."""
