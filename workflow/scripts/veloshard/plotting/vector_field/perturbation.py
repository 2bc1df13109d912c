"""Predicted effect of a perturbation on the velocities, on a grid over the embedding."""

import textwrap

import numpy as np

from veloshard.graph.velocity_embedding import grid_arrow_mask, velocity_grid
from veloshard.plotting._shared.embedding import cluster_map, draw_arrows, embedding_of
from veloshard.plotting._shared.style import INK, message_figure, set_title, styled

# characters per line of the changes
LINE_CHARACTERS = 52

# shortest arrow, as a share of the typical length: a shorter one would be a dot without a direction
MIN_LENGTH = 0.1


@styled
def draw(result, values, *, style, density=0.6):
    """Draw the mean effect of a perturbation as arrows on a grid, longer for stronger effects.

    There are no arrows away from cells, nor where the effect is below a tenth of the typical one. Streamlines would not
    show where the effect is weak.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        `effect_embedding`, (n_cells, 2); `name`; `changes`, (n_genes,), such as "Gcg: absolute -100".
    style : Style
        Style of the figure.
    density : float
        Density of the grid: 1 for 50 arrows per axis.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    title = f"Perturbation {values['name']}"
    changes = "; ".join(values["changes"])
    effect_embedding = np.asarray(values["effect_embedding"], dtype=np.float64)
    if not np.nan_to_num(effect_embedding).any():
        return message_figure(result, style, title, f"{changes}: the perturbation does not change any velocity.")
    grid = velocity_grid(embedding_of(result), effect_embedding, density=density)
    lengths = np.hypot(*grid.vectors)
    visible = grid_arrow_mask(grid) & (lengths > 0)
    if visible.any():
        visible &= lengths > MIN_LENGTH * np.percentile(lengths[visible], 95)
    rows, columns = np.nonzero(visible)
    figure, axes = cluster_map(result, style, alpha=0.6)
    draw_arrows(
        axes,
        np.column_stack([grid.x[columns], grid.y[rows]]),
        grid.vectors[:, visible].T,
        typical_length=1.5 * (grid.x[1] - grid.x[0]),
        color=INK,
    )
    extent = axes.set_title(textwrap.fill(changes, LINE_CHARACTERS)).get_window_extent()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
    set_title(figure, result, title)
    return figure
