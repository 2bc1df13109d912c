"""Velocities of single cells as arrows on the embedding."""

import numpy as np

from veloshard.figures.embedding import cluster_map, draw_arrows, positions_of, velocities_of
from veloshard.figures.style import clusters_of, set_title, styled

# which cells get an arrow is the same on each run
SUBSAMPLE_SEED = 0


@styled
def draw(result, *, style, max_arrows=1_500, arrow_length=1.0):
    """Draw an arrow at each cell, in the colour of its cluster and darker; at most `max_arrows` of them.

    arrow_length : 1 for long arrows of a twentieth of the embedding.
    """
    positions, velocities = positions_of(result), velocities_of(result)
    cells = _subsample(np.flatnonzero(np.isfinite(np.hypot(*velocities.T))), max_arrows)
    figure, axes = cluster_map(result, style, alpha=0.35)
    draw_arrows(
        axes,
        positions[cells],
        velocities[cells],
        typical_length=0.05 * arrow_length * np.nanmax(np.ptp(positions, axis=0)),
        color=clusters_of(result, style).of_cells[cells] * (0.6, 0.6, 0.6, 1.0),
    )
    set_title(figure, result, "Velocities of cells")
    return figure


def _subsample(cells, size):
    if len(cells) <= size:
        return cells
    return np.sort(np.random.default_rng(SUBSAMPLE_SEED).choice(cells, size, replace=False))
