"""How much the velocities of neighbours agree, and how long they are."""

import numpy as np

from veloshard.errors import InputError
from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled

COLUMNS = {"velocity_confidence": "Confidence", "velocity_length": "Length"}


@styled
def draw(result, *, style):
    """Draw confidence and length of the velocities on the embedding, one panel each.

    Raises InputError when `obs` lacks one of them.
    """
    missing = [column for column in COLUMNS if column not in result.obs]
    if missing:
        raise InputError(f"obs lacks {' and '.join(missing)}: compute the confidence first.")
    figure, panels = embedding_panels(result, style, n_panels=len(COLUMNS), beside=COLOURBAR_WIDTH)
    for axes, (column, label) in zip(panels, COLUMNS.items(), strict=True):
        # the outermost cells would take up half of the colours
        draw_values(
            axes,
            positions_of(result),
            np.asarray(result.obs[column]),
            style=style,
            label=label,
            percentiles=(2, 98),
        )
    set_title(figure, result, "Velocity confidence and length")
    return figure
