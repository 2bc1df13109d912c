"""Streamlines of the velocities over the cells of the embedding."""

import numpy as np

from veloshard.figures.embedding import ARROWS, cluster_map, positions_of, velocities_of
from veloshard.figures.style import INK, set_title, styled
from veloshard.projection import grid_field, stream_mask

# points, from the slowest to the fastest line
LINE_WIDTHS = (0.5, 1.7)


@styled
def draw(result, *, style, density=1.0, smooth=0.5, min_mass=1.0):
    """Draw streamlines over the cells in the colours of their clusters, thicker where cells move faster.

    density : 1 for lines about 1/60 of the embedding apart, 2 for half of that.
    smooth : how far velocities are averaged, in steps of the grid.
    min_mass : larger values keep lines out of regions where cells hardly move or disagree.
    """
    field = grid_field(positions_of(result), velocities_of(result), density=density, smooth=smooth)
    u, v = np.where(stream_mask(field, min_mass=min_mass), field.vectors, np.nan)
    # of the whole field: next to points without a line a width would be interpolated from nothing
    speed = np.hypot(*field.vectors)
    figure, axes = cluster_map(result, style)
    axes.streamplot(
        field.x,
        field.y,
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
