"""Where the cells come from and where they go to."""

import numpy as np

from veloshard.errors import InputError
from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled

COLUMNS = {"root_cells": "Root cells", "end_points": "End points"}


@styled
def draw(result, *, style):
    """Draw how much each cell looks like a root and like an end point on the embedding, one panel each.

    Raises InputError when `obs` lacks one of them.
    """
    missing = [column for column in COLUMNS if column not in result.obs]
    if missing:
        raise InputError(f"obs lacks {' and '.join(missing)}: compute the terminal states first.")
    figure, panels = embedding_panels(result, style, n_panels=len(COLUMNS), beside=COLOURBAR_WIDTH)
    for axes, (column, label) in zip(panels, COLUMNS.items(), strict=True):
        draw_values(axes, positions_of(result), np.asarray(result.obs[column]), style=style, label=label)
    set_title(figure, result, "Terminal states")
    return figure
