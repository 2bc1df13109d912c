"""Topography of a learned vector field on the embedding: fixed points, nullclines and separatrices."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import ARROWS, basis_of, draw_clusters, embedding_of, embedding_panels
from veloshard.plotting._shared.style import INK, add_legend, cluster_entries, set_title, styled
from veloshard.plotting.vector_field.streamlines import draw_streamlines

STREAMLINES = {"density": 1.6, "color": "#7A7A7A", "arrowsize": 0.6}

STREAMLINE_WIDTHS = (0.4, 0.7)

# name of the array: label and style of its lines
LINES = {
    "nullcline_x": ("nullcline of {basis} 1", {"color": "#6A1B9A", "linewidth": 1.3, "linestyle": (0, (4, 1.5))}),
    "nullcline_y": ("nullcline of {basis} 2", {"color": "#00695C", "linewidth": 1.3, "linestyle": (0, (1, 1.2))}),
    "separatrices": ("separatrix", {"color": INK, "linewidth": 1.5}),
}

# separatrices away from cells
FAR_SEPARATRIX = {"color": "#ABABAB", "linewidth": 0.7}

# white outline, so that lines and points are visible on cells of any color
OUTLINE_WIDTH = 1.2

# fill style and color of the marker: full for attractors, half for saddles, empty for repellers
FILLS = {"attractor": ("full", INK), "saddle": ("left", INK), "repeller": ("full", "white")}

# points: diameters at confidence 0 and 1
DIAMETERS = (3.0, 7.5)

POINT_ZORDER = ARROWS + 2


@styled
def draw(result, values, *, style):
    """Draw fixed points, nullclines and separatrices of the vector field over its streamlines and the cells.

    Nullclines and streamlines are drawn near cells only. Fixed points are larger if cells are closer.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        Arrays of `streamlines.draw`, and `domain`, (2, 2), in which fixed points were searched; `coordinates`,
        (n_points, 2), `kinds` and `confidence`, (n_points,), of the fixed points; `nullcline_x`, `nullcline_y` and
        `separatrices`, (n_line_points, 2), lines separated by rows of NaN.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    clusters = clusters_of(result, style.palette)
    figure, (axes,) = embedding_panels(result, style)
    # the whole domain, so that all fixed points are inside the panel
    axes.set(xlim=values["domain"][0], ylim=values["domain"][1])
    draw_clusters(axes, embedding_of(result), clusters, style=style, alpha=0.3)
    draw_streamlines(axes, values, widths=STREAMLINE_WIDTHS, **STREAMLINES)
    axes.plot(*values["separatrices"].T, zorder=ARROWS, **FAR_SEPARATRIX)
    lines = {name: lines_near_cells(values, name) for name in LINES}
    for name, (_, line_style) in LINES.items():
        outline = [withStroke(linewidth=line_style["linewidth"] + OUTLINE_WIDTH, foreground="white"), Normal()]
        axes.plot(*lines[name].T, path_effects=outline, zorder=ARROWS + 1, **line_style)
    for point, kind, confidence in zip(values["coordinates"], values["kinds"], values["confidence"], strict=True):
        axes.plot(*point, zorder=POINT_ZORDER, clip_on=False, **_marker(kind, confidence))
    add_legend(figure, cluster_entries(clusters) + _legend_entries(values["kinds"], lines, basis_of(result).upper()))
    set_title(figure, result, "Topography of the vector field")
    return figure


def lines_near_cells(values, name):
    """Return lines with NaN where the nearest grid point is not near cells.

    Parameters
    ----------
    values : dict of str to ndarray
        As for `draw`.
    name : str
        Name of the array of lines.

    Returns
    -------
    ndarray of float64, shape (n_line_points, 2)
        Copy of the lines.
    """
    lines = np.array(values[name], dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(lines).all(axis=1))
    x, y = lines[finite].T
    column, row = _nearest_grid_index(values["x"], x), _nearest_grid_index(values["y"], y)
    lines[finite[~values["near_cells"][row, column]]] = np.nan
    return lines


def _nearest_grid_index(grid, values):
    """Return the index of the point of an evenly spaced grid that is nearest to each value."""
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    return np.clip(np.round((values - grid[0]) / step).astype(int), 0, len(grid) - 1)


def _marker(kind, confidence):
    """Return the marker style of a fixed point; an unknown confidence counts as 0."""
    return {
        "linestyle": "",
        "marker": "o",
        "markersize": DIAMETERS[0] + (DIAMETERS[1] - DIAMETERS[0]) * np.nan_to_num(confidence),
        "fillstyle": FILLS[kind][0],
        "color": INK,
        "markerfacecolor": FILLS[kind][1],
        "markerfacecoloralt": "white",
        "markeredgecolor": INK,
        "markeredgewidth": 0.9,
    }


def _legend_entries(kinds, lines, basis):
    """Return legend entries (handle, label) of the kinds of fixed points and of the lines near cells."""
    present = [kind for kind in FILLS if kind in set(kinds)]
    entries = [(Line2D([], [], **_marker(kind, 1)), kind) for kind in present]
    if present:
        entries.append((Line2D([], [], **_marker(present[0], 0)), "far from cells"))
    else:
        entries.append((Line2D([], [], linestyle=""), "no fixed point"))
    for name, (label, line_style) in LINES.items():
        if np.isfinite(lines[name]).any():
            entries.append((Line2D([], [], **line_style), label.format(basis=basis)))
    return entries
