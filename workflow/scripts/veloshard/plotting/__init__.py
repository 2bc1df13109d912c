"""Figures, one module per figure with a function `draw(result, *, style, **options)` that returns a matplotlib Figure.

A new module in one of the groups is a new figure of the name of the module:

    result        figures of one velocity result
    comparison    figures of all methods of a dataset: `draw(comparison, *, style)`
    vector_field  figures of a vector field: `draw(result, values, *, style)`
    _shared       shared parts of the figures

`result` has the attributes of an AnnData object (obs, var, obsm, uns, layers). Figures read single columns of a layer,
so that layers may stay on disk. No figure uses pyplot or changes the global settings of matplotlib.

A module of the group `result` names the analyses that it shows in the constant `INPUTS`, by the arguments of
`output.figure_data.open_figure_data`. The workflow draws the figure as soon as these are done. The constant is a
literal tuple, because the workflow reads it without importing the module.
"""

import importlib
import pkgutil
from pathlib import Path

from veloshard.errors import InputError, choices
from veloshard.plotting._shared.style import Style, settings

__all__ = ["Style", "load", "names", "save"]

# None removes the field: with a date, the bytes would differ between runs
METADATA = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}

# the strongest lossless compression: a third of the bytes of matplotlib's default
PNG_OPTIONS = {"optimize": True}


def names(group="result"):
    """Return the names of the figures of a group, in alphabetical order.

    Parameters
    ----------
    group : {"result", "comparison", "vector_field"}
        Group of figures.

    Returns
    -------
    tuple of str
        Names of the figures.
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__path__[0], group))])))


def load(name, group="result"):
    """Return the function `draw` of a figure.

    Parameters
    ----------
    name : str
        Name of the figure.
    group : {"result", "comparison", "vector_field"}
        Group of figures.

    Returns
    -------
    callable
        Function that returns a matplotlib Figure.

    Raises
    ------
    InputError
        If the group has no figure of that name.
    """
    if name not in names(group):
        raise InputError(f"no figure {name!r} ({choices(names(group), name)}).")
    return importlib.import_module(f"{__name__}.{group}.{name}").draw


def save(figure, path, dpi):
    """Write a figure to a file; the same figure gives the same bytes on every run.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure that `draw` returned.
    path : str or path-like
        File to write, with the suffix .png, .pdf or .svg.
    dpi : int
        Resolution of PNG files, and of rasterized layers in PDF and SVG files.

    Raises
    ------
    InputError
        If the suffix is not one of these.
    """
    path = Path(path)
    if path.suffix not in METADATA:
        raise InputError(f"cannot write {path.name}: the suffix must be one of {', '.join(METADATA)}.")
    options = {"pil_kwargs": PNG_OPTIONS} if path.suffix == ".png" else {}
    with settings(Style()):
        figure.savefig(path, dpi=dpi, metadata=METADATA[path.suffix], **options)
