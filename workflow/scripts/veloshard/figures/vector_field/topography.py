"""The portrait of a learned field: where it stands still, and the lines that part it."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.figures.embedding import ARROWS, basis_of, draw_clusters, embedding_panels, positions_of
from veloshard.figures.style import INK, add_legend, cluster_entries, clusters_of, set_title, styled
from veloshard.figures.vector_field.field import draw_streamlines

STREAM = {"density": 1.6, "color": "#7A7A7A", "arrowsize": 0.6}
STREAM_WIDTHS = (0.4, 0.7)

# of the lines: keys in the file, names and looks
LINES = {
    "nullcline_x": ("nullcline of {basis} 1", {"color": "#6A1B9A", "linewidth": 1.3, "linestyle": (0, (4, 1.5))}),
    "nullcline_y": ("nullcline of {basis} 2", {"color": "#00695C", "linewidth": 1.3, "linestyle": (0, (1, 1.2))}),
    "separatrices": ("separatrix", {"color": INK, "linewidth": 1.5}),
}
# of a separatrix where no cells are near
BEYOND = {"color": "#ABABAB", "linewidth": 0.7}
# white around lines and points, so that they are seen on cells of any colour
CASING = 1.2

# how a point is filled: full where all gathers, empty where all spreads
FILLS = {"attractor": ("full", INK), "saddle": ("left", INK), "repeller": ("full", "white")}
# points: diameters at confidence 0 and 1
DIAMETERS = (3.0, 7.5)
POINTS = ARROWS + 2


@styled
def draw(result, found, *, style):
    """Draw fixed points, nullclines and separatrices of the field over its streamlines, and the cells faintly.

    Lines and streamlines are drawn near cells only.  Fixed points are larger the closer cells are.

    found : as of `field.draw`, and `domain`, (2, 2), in which was searched; `places`, (n_points, 2), `kinds` and
        `confidence`, (n_points,), of the fixed points; `nullcline_x`, `nullcline_y` and `separatrices`, (., 2), lines
        parted by rows of NaN.
    """
    clusters = clusters_of(result, style)
    figure, (axes,) = embedding_panels(result, style)
    # all that was searched, so that no fixed point lies beyond
    axes.set(xlim=found["domain"][0], ylim=found["domain"][1])
    draw_clusters(axes, positions_of(result), clusters, style=style, alpha=0.3)
    draw_streamlines(axes, found, widths=STREAM_WIDTHS, **STREAM)
    axes.plot(*found["separatrices"].T, zorder=ARROWS, **BEYOND)
    lines = {key: lines_near_cells(found, key) for key in LINES}
    for key, (_, look) in LINES.items():
        casing = [withStroke(linewidth=look["linewidth"] + CASING, foreground="white"), Normal()]
        axes.plot(*lines[key].T, path_effects=casing, zorder=ARROWS + 1, **look)
    for place, kind, confidence in zip(found["places"], found["kinds"], found["confidence"], strict=True):
        axes.plot(*place, zorder=POINTS, clip_on=False, **_look_of(kind, confidence))
    add_legend(figure, cluster_entries(clusters) + _entries(found["kinds"], lines, basis_of(result).upper()))
    set_title(figure, result, "Topography of the learned field")
    return figure


def lines_near_cells(found, key):
    """The lines that `found` holds under `key`, NaN where the nearest point of the grid has no cells near: (., 2)."""
    lines = np.array(found[key], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(lines).all(axis=1))
    x, y = lines[known].T
    column, row = _nearest(found["x"], x), _nearest(found["y"], y)
    lines[known[~found["near_cells"][row, column]]] = np.nan
    return lines


def _nearest(grid, values):
    """Numbers of the points of an evenly spaced grid that are nearest to values."""
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    return np.clip(np.round((values - grid[0]) / step).astype(int), 0, len(grid) - 1)


def _look_of(kind, confidence):
    """How a fixed point is drawn; a confidence that is not known counts as none."""
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


def _entries(kinds, lines, basis):
    """Legend entries (handle, name) of the kinds of fixed points and of the lines that there are near cells."""
    present = [kind for kind in FILLS if kind in set(kinds)]
    entries = [(Line2D([], [], **_look_of(kind, 1)), kind) for kind in present]
    if present:
        entries.append((Line2D([], [], **_look_of(present[0], 0)), "far from cells"))
    else:
        entries.append((Line2D([], [], linestyle=""), "no fixed point"))
    for key, (name, look) in LINES.items():
        if np.isfinite(lines[key]).any():
            entries.append((Line2D([], [], **look), name.format(basis=basis)))
    return entries
