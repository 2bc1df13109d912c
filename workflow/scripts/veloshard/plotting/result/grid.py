"""Mean velocities as arrows on a regular grid over the embedding."""

import numpy as np

from veloshard.graph.velocity_embedding import grid_arrow_mask, velocity_grid
from veloshard.plotting._shared.embedding import cluster_map, draw_arrows, embedding_of, velocity_embedding_of
from veloshard.plotting._shared.style import INK, set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "velocity_embedding")


@styled
def draw(result, *, style, density=0.6, smooth=0.5, min_mass=1.0, arrow_length=1.0):
    """Draw the mean velocity at the points of a grid, above the cells in the colors of their clusters.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    density : float
        Density of the grid. A density of 1 gives 50 arrows per axis.
    smooth : float
        Standard deviation of the Gaussian that averages velocities, in steps of the grid.
    min_mass : float
        Lower bound of the density of cells for an arrow, in percent of its 99th percentile.
    arrow_length : float
        Length of long arrows (the 95th percentile), in units of 1.5 steps of the grid.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    grid = velocity_grid(embedding_of(result), velocity_embedding_of(result), density=density, smooth=smooth)
    mask = grid_arrow_mask(grid, min_mass=min_mass)
    rows, columns = np.nonzero(mask)
    figure, axes = cluster_map(result, style)
    draw_arrows(
        axes,
        np.column_stack([grid.x[columns], grid.y[rows]]),
        grid.vectors[:, mask].T,
        typical_length=1.5 * arrow_length * (grid.x[1] - grid.x[0]),
        color=INK,
    )
    set_title(figure, result, "Velocities on a grid")
    return figure
