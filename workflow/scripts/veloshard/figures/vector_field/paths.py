"""The paths of least action between places of a learned field."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.figures.embedding import ARROWS, draw_clusters, embedding_panels, positions_of
from veloshard.figures.style import add_legend, cluster_entries, clusters_of, set_title, styled, words_instead
from veloshard.figures.vector_field.trajectories import heading
from veloshard.vectorfield.paths import evenly_spaced

TITLE = "Paths of least action"

# darker than clusters are; they come again after one round, which numbers tell apart
COLOURS = ("#1A1A1A", "#B3001B", "#0B3C8C", "#00592E", "#6A1B9A", "#7A4100", "#AD1457", "#005F73")
FAINT = 0.35
LINE_WIDTH, CASING = 1.6, 1.4
DASHES = (0, (3, 1.5))
ENDS = ARROWS + 1
# places on a path, those of them near its ends where no number stands, and how far apart numbers are, of a panel
N_PLACES, N_AT_ENDS, APART = 40, 4, 0.05


@styled
def draw(result, found, *, style):
    """Draw paths over the cells, numbered; the legend has their names and actions.

    A path that did not converge, or of which no action is known, is dashed.

    found : `names`, (n_paths,); `places`, (n_paths, n_points, 2), on the embedding; `duration`, `action` and
        `converged`, (n_paths,).
    """
    if not len(found["names"]):
        return words_instead(result, style, TITLE, "There is nothing to show: no paths were asked for.")
    clusters = clusters_of(result, style)
    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, positions_of(result), clusters, style=style, alpha=FAINT)
    sure = found["converged"] & np.isfinite(found["action"])
    looks = [
        {"color": COLOURS[k % len(COLOURS)], "linewidth": LINE_WIDTH, "linestyle": "-" if sure[k] else DASHES}
        for k in range(len(sure))
    ]
    casing = [withStroke(linewidth=LINE_WIDTH + CASING, foreground="white"), Normal()]
    for path, look in zip(found["places"], looks, strict=True):
        axes.plot(*path.T, zorder=ARROWS, path_effects=casing, **look)
        end = {"linestyle": "", "color": look["color"], "zorder": ENDS}
        axes.plot(*path[0], marker="o", markersize=4.5, markerfacecolor="white", **end)
        axes.plot(*path[-1], marker=heading(path), markersize=7.5, markeredgecolor="white", markeredgewidth=0.5, **end)
    _draw_numbers(axes, found["places"], looks, style)
    entries = [(Line2D([], [], **look), label) for look, label in zip(looks, _labels(found), strict=True)]
    add_legend(figure, cluster_entries(clusters) + entries)
    set_title(figure, result, TITLE)
    return figure


def _labels(found):
    """What the legend says of each path."""
    labels = []
    for number, (name, action) in enumerate(zip(found["names"], found["action"], strict=True), start=1):
        # a line does not break before the number
        known = f"action\N{NO-BREAK SPACE}{action:.2g}" if np.isfinite(action) else "no action"
        labels.append(f"{number} {name}: {known}" + ("" if found["converged"][number - 1] else ", not converged"))
    return labels


def _draw_numbers(axes, paths, looks, style):
    """Number each path where it is farthest from all others, but not upon another number."""
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    apart = APART * np.ptp(limits, axis=1).max()
    numbered = np.empty((0, 2))
    for number, (path, look) in enumerate(zip(paths, looks, strict=True), start=1):
        known = path[np.isfinite(path).all(axis=1)]
        points = evenly_spaced(known, N_PLACES)[N_AT_ENDS:-N_AT_ENDS] if len(known) else known
        seen = points[((points > limits[:, 0]) & (points < limits[:, 1])).all(axis=1)]
        if not len(seen):
            continue
        others = np.delete(paths, number - 1, axis=0).reshape(-1, 2)
        place = seen[np.lexsort([_nearest(seen, others), np.minimum(_nearest(seen, numbered), apart)])[-1]]
        numbered = np.vstack([numbered, place])
        axes.text(
            *place, str(number), ha="center", va="center_baseline", fontsize=0.75 * style.font_size, zorder=ENDS + 1,
            color=look["color"], bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": look["color"]},
        )  # fmt: skip


def _nearest(places, others):
    """Distance of each place to the nearest of others that are known, (n_places,); infinite where there are none."""
    others = others[np.isfinite(others).all(axis=1)]
    return np.linalg.norm(places[:, None] - others, axis=2).min(axis=1, initial=np.inf)
