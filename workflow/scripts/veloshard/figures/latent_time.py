"""Cells of the embedding coloured by their time."""

import numpy as np

from veloshard.errors import InputError
from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled

# columns of obs that hold a time, the better one first
TIMES = {"latent_time": "Latent time", "velocity_pseudotime": "Velocity pseudotime"}


@styled
def draw(result, *, style):
    """Draw latent time, or velocity pseudotime where the method has no latent time.

    Raises InputError when `obs` has neither.
    """
    column = next((column for column in TIMES if column in result.obs), None)
    if column is None:
        raise InputError(f"obs has none of the columns {', '.join(TIMES)}: compute a time first.")
    figure, (axes,) = embedding_panels(result, style, beside=COLOURBAR_WIDTH)
    draw_values(axes, positions_of(result), np.asarray(result.obs[column]), style=style, label=TIMES[column])
    set_title(figure, result, TIMES[column])
    return figure
