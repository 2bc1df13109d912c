"""Cells of the embedding coloured by their time."""

import numpy as np

from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled, time_of


@styled
def draw(result, *, style):
    """Draw latent time, or velocity pseudotime where the method has no latent time.

    Raises InputError when `obs` has neither.
    """
    column, name = time_of(result)
    figure, (axes,) = embedding_panels(result, style, beside=COLOURBAR_WIDTH)
    draw_values(axes, positions_of(result), np.asarray(result.obs[column]), style=style, label=name)
    set_title(figure, result, name)
    return figure
