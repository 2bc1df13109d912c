"""Least action paths between clusters along a learned vector field."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import ARROWS, draw_clusters, embedding_of, embedding_panels
from veloshard.plotting._shared.style import add_legend, cluster_entries, message_figure, set_title, styled
from veloshard.plotting.vector_field.trajectories import direction_marker
from veloshard.vectorfield.paths import evenly_spaced

TITLE = "Least action paths"

# darker than clusters; colors repeat after the last, and numbers distinguish the paths
COLORS = ("#1A1A1A", "#B3001B", "#0B3C8C", "#00592E", "#6A1B9A", "#7A4100", "#AD1457", "#005F73")

CELL_ALPHA = 0.35

LINE_WIDTH, OUTLINE_WIDTH = 1.6, 1.4

DASHES = (0, (3, 1.5))

END_ZORDER = ARROWS + 1

# candidate points for the number of a path, how many of them are left out at both ends, and the smallest distance of
# numbers as a share of the panel
N_CANDIDATES, N_EXCLUDED, MIN_DISTANCE = 40, 4, 0.05


@styled
def draw(result, values, *, style):
    """Draw numbered least action paths; the legend has their names and actions.

    A path is dashed if the search did not converge or the action is not finite.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        `names`, (n_paths,); `coordinates`, (n_paths, n_points, 2), on the embedding; `action` and `converged`,
        (n_paths,).
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    if not len(values["names"]):
        return message_figure(result, style, TITLE, "Nothing to draw: no paths were requested.")
    clusters = clusters_of(result, style.palette)
    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, embedding_of(result), clusters, style=style, alpha=CELL_ALPHA)
    is_solid = values["converged"] & np.isfinite(values["action"])
    line_styles = [
        {"color": COLORS[k % len(COLORS)], "linewidth": LINE_WIDTH, "linestyle": "-" if is_solid[k] else DASHES}
        for k in range(len(is_solid))
    ]
    outline = [withStroke(linewidth=LINE_WIDTH + OUTLINE_WIDTH, foreground="white"), Normal()]
    for path, line_style in zip(values["coordinates"], line_styles, strict=True):
        axes.plot(*path.T, zorder=ARROWS, path_effects=outline, **line_style)
        end = {"linestyle": "", "color": line_style["color"], "zorder": END_ZORDER}
        axes.plot(*path[0], marker="o", markersize=4.5, markerfacecolor="white", **end)
        arrowhead = {"marker": direction_marker(path), "markersize": 7.5}
        axes.plot(*path[-1], markeredgecolor="white", markeredgewidth=0.5, **arrowhead, **end)
    _draw_numbers(axes, values["coordinates"], line_styles, style)
    labels = _path_labels(values)
    entries = [(Line2D([], [], **line_style), label) for line_style, label in zip(line_styles, labels, strict=True)]
    add_legend(figure, cluster_entries(clusters) + entries)
    set_title(figure, result, TITLE)
    return figure


def _path_labels(values):
    """Return the legend label of each path: number, name and action."""
    labels = []
    for number, (name, action) in enumerate(zip(values["names"], values["action"], strict=True), start=1):
        # no line break before the value
        description = f"action\N{NO-BREAK SPACE}{action:.2g}" if np.isfinite(action) else "no action"
        status = "" if values["converged"][number - 1] else ", not converged"
        labels.append(f"{number} {name}: {description}{status}")
    return labels


def _draw_numbers(axes, paths, line_styles, style):
    """Draw the number of each path where it is farthest from all other paths, and apart from other numbers."""
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    min_distance = MIN_DISTANCE * np.ptp(limits, axis=1).max()
    number_points = np.empty((0, 2))
    for number, (path, line_style) in enumerate(zip(paths, line_styles, strict=True), start=1):
        finite = path[np.isfinite(path).all(axis=1)]
        candidates = evenly_spaced(finite, N_CANDIDATES)[N_EXCLUDED:-N_EXCLUDED] if len(finite) else finite
        candidates = candidates[((candidates > limits[:, 0]) & (candidates < limits[:, 1])).all(axis=1)]
        if not len(candidates):
            continue
        other_paths = np.delete(paths, number - 1, axis=0).reshape(-1, 2)
        to_numbers = np.minimum(_distance_to_nearest(candidates, number_points), min_distance)
        point = candidates[np.lexsort([_distance_to_nearest(candidates, other_paths), to_numbers])[-1]]
        number_points = np.vstack([number_points, point])
        color = line_style["color"]
        axes.text(
            *point,
            str(number),
            ha="center",
            va="center_baseline",
            fontsize=0.75 * style.font_size,
            zorder=END_ZORDER + 1,
            color=color,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": color},
        )


def _distance_to_nearest(coordinates, others):
    """Return the distance of each point to the nearest finite one of others, infinite if there is none."""
    others = others[np.isfinite(others).all(axis=1)]
    return np.linalg.norm(coordinates[:, None] - others, axis=2).min(axis=1, initial=np.inf)
