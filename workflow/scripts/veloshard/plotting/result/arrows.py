"""Velocities of single cells as arrows on the embedding."""

import numpy as np

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import cluster_map, draw_arrows, embedding_of, velocity_embedding_of
from veloshard.plotting._shared.style import set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "velocity_embedding")

# the cells with an arrow are the same on each run
SUBSAMPLE_SEED = 0

# RGBA factors of the color of a cluster
DARKER = (0.6, 0.6, 0.6, 1.0)


@styled
def draw(result, *, style, max_arrows=1_500, arrow_length=1.0):
    """Draw the velocity of each cell as an arrow in a darker shade of the color of its cluster.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    max_arrows : int
        Largest number of arrows. If there are more cells, a random subsample has arrows.
    arrow_length : float
        Length of long arrows (the 95th percentile), in units of 1/20 of the embedding.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    embedding, velocity_embedding = embedding_of(result), velocity_embedding_of(result)
    cells = _subsample(np.flatnonzero(np.isfinite(np.hypot(*velocity_embedding.T))), max_arrows)
    figure, axes = cluster_map(result, style, alpha=0.35)
    draw_arrows(
        axes,
        embedding[cells],
        velocity_embedding[cells],
        typical_length=0.05 * arrow_length * np.nanmax(np.ptp(embedding, axis=0)),
        color=clusters_of(result, style.palette).cell_colors[cells] * DARKER,
    )
    set_title(figure, result, "Velocities of cells")
    return figure


def _subsample(cells, size):
    if len(cells) <= size:
        return cells
    return np.sort(np.random.default_rng(SUBSAMPLE_SEED).choice(cells, size, replace=False))
