"""How the velocities would change if some genes were expressed otherwise."""

import textwrap

import numpy as np

from veloshard.figures.embedding import cluster_map, draw_arrows, positions_of
from veloshard.figures.style import INK, set_title, styled, words_instead
from veloshard.projection import arrow_mask, grid_field

# characters of a line of the changes
CHARACTERS = 52
# share of the typical length below which an arrow is not drawn: it would be a dot, without a direction
LEAST_LENGTH = 0.1


@styled
def draw(result, found, *, style, density=0.6):
    """Draw the mean effect of a perturbation at the points of a grid over the cells in the colours of their clusters.

    The longer an arrow, the stronger the effect.  There is none far from cells, nor where the effect is less than a
    tenth of what is typical.  Not streamlines: they would be as dense where nothing happens.

    found : `arrows`, (n_cells, 2), on the embedding; `name`; `changes`, (n,), such as "Gcg: absolute -100".
    density : 1 for 50 arrows along each axis.
    """
    title = f"Perturbation {found['name']}"
    changes = "; ".join(found["changes"])
    arrows = np.asarray(found["arrows"], dtype=np.float64)
    if not np.nan_to_num(arrows).any():
        return words_instead(result, style, title, f"{changes}: no cell would move otherwise than it does.")
    field = grid_field(positions_of(result), arrows, density=density)
    length = np.hypot(*field.vectors)
    chosen = arrow_mask(field) & (length > 0)
    if chosen.any():
        chosen &= length > LEAST_LENGTH * np.percentile(length[chosen], 95)
    rows, columns = np.nonzero(chosen)
    figure, axes = cluster_map(result, style, alpha=0.6)
    draw_arrows(
        axes,
        np.column_stack([field.x[columns], field.y[rows]]),
        field.vectors[:, chosen].T,
        typical_length=1.5 * (field.x[1] - field.x[0]),
        color=INK,
    )
    extent = axes.set_title(textwrap.fill(changes, CHARACTERS)).get_window_extent()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
    set_title(figure, result, title)
    return figure
