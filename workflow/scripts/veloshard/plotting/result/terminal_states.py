"""Root cells and end points on the embedding."""

from veloshard.plotting._shared.embedding import draw_obs_columns
from veloshard.plotting._shared.style import set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "pseudotime")

# columns of obs and their labels
COLUMNS = {"root_cells": "Root cells", "end_points": "End points"}


@styled
def draw(result, *, style):
    """Draw the scores of root cells and of end points, one panel each.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` lacks one of them.
    """
    figure = draw_obs_columns(result, style, COLUMNS, computed_by="the terminal states")
    set_title(figure, result, "Terminal states")
    return figure
