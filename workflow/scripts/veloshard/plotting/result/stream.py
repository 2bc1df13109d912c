"""Streamlines of the velocities over the embedding."""

import numpy as np

from veloshard.graph.velocity_embedding import stream_mask, velocity_grid
from veloshard.plotting._shared.embedding import ARROWS, cluster_map, embedding_of, velocity_embedding_of
from veloshard.plotting._shared.style import INK, set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "velocity_embedding")

# points, at speed 0 and at the highest speed
LINE_WIDTHS = (0.5, 1.7)


@styled
def draw(result, *, style, density=1.0, smooth=0.5, min_mass=1.0):
    """Draw streamlines above the cells in the colors of their clusters, wider where cells move faster.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    density : float
        Density of the lines. At a density of 1 they are about 1/60 of the embedding apart, at 2 half of that.
    smooth : float
        Standard deviation of the Gaussian that averages velocities, in steps of the grid.
    min_mass : float
        Larger values remove lines from regions of slow cells or inconsistent directions.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    grid = velocity_grid(embedding_of(result), velocity_embedding_of(result), density=density, smooth=smooth)
    u, v = np.where(stream_mask(grid, min_mass=min_mass), grid.vectors, np.nan)
    # speed without the mask: next to masked points, the line width would be interpolated from NaN
    speed = np.hypot(*grid.vectors)
    figure, axes = cluster_map(result, style)
    axes.streamplot(
        grid.x,
        grid.y,
        u,
        v,
        density=2 * density,
        linewidth=np.interp(speed, (0, speed.max()), LINE_WIDTHS),
        color=INK,
        arrowsize=0.9,
        zorder=ARROWS,
    )
    set_title(figure, result, "Velocity stream")
    return figure
