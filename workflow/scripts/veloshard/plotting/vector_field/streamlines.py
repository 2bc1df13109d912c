"""Streamlines of a learned vector field on the embedding."""

import numpy as np

from veloshard.plotting._shared.embedding import ARROWS, cluster_map
from veloshard.plotting._shared.style import INK, set_title, styled

# points, where the field is slowest and fastest
LINE_WIDTHS = (0.5, 1.7)

# percentile of the speed near cells at which lines are widest: at the boundary of the cells a field may be very fast
FASTEST_PERCENTILE = 98


@styled
def draw(result, values, *, style, density=1.0):
    """Draw streamlines of the vector field near cells, wider where the field is faster.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        `x`, (n_x,), and `y`, (n_y,), evenly spaced; `vectors`, (n_y, n_x, 2); `near_cells`, bool (n_y, n_x).
    style : Style
        Style of the figure.
    density : float
        Density of the lines: 1 for a distance of about 1/60 of the embedding, 2 for half of that.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure, axes = cluster_map(result, style)
    draw_streamlines(axes, values, widths=LINE_WIDTHS, density=2 * density, color=INK, arrowsize=0.9)
    set_title(figure, result, "Vector field")
    return figure


def draw_streamlines(axes, values, *, widths, **options):
    """Draw streamlines of a vector field near cells; nothing if no part of the panel is near cells.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    values : dict of str to ndarray
        As for `draw`.
    widths : (float, float)
        Line widths in points where the field is slowest and fastest.
    **options
        Further arguments of `matplotlib.axes.Axes.streamplot`.
    """
    near = values["near_cells"] & np.isfinite(values["vectors"]).all(axis=-1)
    # lines end inside the panel and are not clipped
    for coordinates, (low, high) in ((values["x"][None], axes.get_xlim()), (values["y"][:, None], axes.get_ylim())):
        near = near & (coordinates >= low) & (coordinates <= high)
    if not near.any():
        return
    u, v = np.moveaxis(np.where(near[..., None], values["vectors"], np.nan), -1, 0)
    # also where the field is masked: line widths next to the mask are interpolated
    speed = np.nan_to_num(np.hypot(*np.moveaxis(values["vectors"], -1, 0)))
    fastest = np.percentile(speed[near], FASTEST_PERCENTILE)
    line_width = np.interp(speed, (0, fastest), widths) if fastest > 0 else widths[0]
    axes.streamplot(values["x"], values["y"], u, v, linewidth=line_width, zorder=ARROWS, **options)
