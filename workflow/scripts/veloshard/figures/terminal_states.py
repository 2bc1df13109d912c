"""Where the cells come from and where they go to."""

from veloshard.figures.embedding import columns_map
from veloshard.figures.style import set_title, styled

COLUMNS = {"root_cells": "Root cells", "end_points": "End points"}


@styled
def draw(result, *, style):
    """Draw how much each cell looks like a root and like an end point on the embedding, one panel each.

    Raises InputError when `obs` lacks one of them.
    """
    figure = columns_map(result, style, COLUMNS, computed_by="the terminal states")
    set_title(figure, result, "Terminal states")
    return figure
