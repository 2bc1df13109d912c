"""Streamlines of a learned field over the cells of the embedding."""

import numpy as np

from veloshard.figures.embedding import ARROWS, cluster_map
from veloshard.figures.style import INK, set_title, styled

# points, from the slowest to the fastest line
LINE_WIDTHS = (0.5, 1.7)
# percentile of the speed near cells at which lines are widest: at the rim a field may run away
FASTEST = 98


@styled
def draw(result, found, *, style, density=1.0):
    """Draw streamlines of the field, where cells are near, over the cells in the colours of their clusters.

    Lines are thicker where the field is faster.

    found : `x`, (n_x,), and `y`, (n_y,), evenly spaced; `vectors`, (n_y, n_x, 2); `near_cells`, bool (n_y, n_x).
    density : 1 for lines about 1/60 of the embedding apart, 2 for half of that.
    """
    figure, axes = cluster_map(result, style)
    draw_streamlines(axes, found, widths=LINE_WIDTHS, density=2 * density, color=INK, arrowsize=0.9)
    set_title(figure, result, "Learned vector field")
    return figure


def draw_streamlines(axes, found, *, widths, **look):
    """Draw streamlines of the field near cells, with `widths` of the slowest and the fastest, and this look.

    found : as of `draw`.   Nothing is drawn where no part of the panel is near cells.
    """
    near = found["near_cells"] & np.isfinite(found["vectors"]).all(axis=-1)
    # lines end at the rim of the panel rather than are cut there
    for places, (low, high) in ((found["x"][None], axes.get_xlim()), (found["y"][:, None], axes.get_ylim())):
        near = near & (places >= low) & (places <= high)
    if not near.any():
        return
    u, v = np.moveaxis(np.where(near[..., None], found["vectors"], np.nan), -1, 0)
    # of the whole field: next to points without a line a width would be interpolated from nothing
    speed = np.nan_to_num(np.hypot(*np.moveaxis(found["vectors"], -1, 0)))
    fastest = np.percentile(speed[near], FASTEST)
    width = np.interp(speed, (0, fastest), widths) if fastest > 0 else widths[0]
    axes.streamplot(found["x"], found["y"], u, v, linewidth=width, zorder=ARROWS, **look)
