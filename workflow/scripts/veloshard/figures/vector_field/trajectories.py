"""Where a learned field carries chosen cells, step by step."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.figures.embedding import ARROWS, draw_clusters, embedding_panels, positions_of
from veloshard.figures.style import INK, add_legend, cluster_entries, clusters_of, set_title, styled, words_instead

TITLE = "Stepwise fate of chosen cells"
BACKWARDS = "Stepwise origin of chosen cells"

# shares of the longest time after which is shown where the cells are
SHARES = {
    "1/4 of the longest time": 0.25,
    "2/4 of the longest time": 0.5,
    "3/4 of the longest time": 0.75,
    "the longest time": 1.0,
}

# of a panel that stands alone
PANEL_SHARE = 0.8
FAINT = 0.22
# as arrows of cells: darker than the cells of the same cluster
DARKER = (0.6, 0.6, 0.6, 1.0)
LINE = {"linewidth": 1.2, "path_effects": [withStroke(linewidth=2.2, foreground="white"), Normal()], "zorder": ARROWS}
POINT = {"linestyle": "", "zorder": ARROWS + 1}
START = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.1}
ON_ITS_WAY = {"marker": "o", "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
AT_REST = {"marker": "s", "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
# a triangle that points to the right before it is turned
MOVING = {"marker": (3, 0, -90), "markersize": 7.5, "markeredgecolor": "white", "markeredgewidth": 0.5}


@styled
def draw(result, found, *, style):
    """Draw the courses of chosen cells, in the colours of the clusters they start in, and where the cells are by then.

    The first panel shows whole courses, with a square where the field is at rest at the end and a triangle where time
    was up; the others how far they are after shares of the longest time.  A cell whose course has ended stays there.

    found : `cells`, int (n,); `places`, (n, n_points, 2), on the embedding; `times`, (n, n_points), of which only the
        size counts: negative ones lead back; `ends_at_rest`, bool (n,).
    """
    times = np.abs(found["times"])
    title = BACKWARDS if np.any(found["times"] < 0) else TITLE
    if not len(found["cells"]):
        return words_instead(result, style, title, "There is nothing to show: no cells were chosen.")
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    clusters = clusters_of(result, style)
    colours = clusters.of_cells[found["cells"]] * DARKER
    figure, (whole, *steps) = embedding_panels(result, style, n_panels=1 + len(SHARES))
    for axes in (whole, *steps):
        draw_clusters(axes, positions_of(result), clusters, style=style, alpha=FAINT)
    whole.set_title("whole courses")
    for course, colour, rests in zip(found["places"], colours, found["ends_at_rest"], strict=True):
        whole.plot(*course.T, color=colour, **LINE)
        whole.plot(*course[0], color=colour, **POINT, **START)
        whole.plot(*course[-1], color=colour, **POINT, **_end(course, rests))
    for axes, (name, share) in zip(steps, SHARES.items(), strict=True):
        now = share * times.max()
        axes.set_title(f"after {name} ({now:.3g})")
        for course, at, colour, rests in zip(found["places"], times, colours, found["ends_at_rest"], strict=True):
            walked = walked_by(course, at, now)
            axes.plot(*walked.T, color=colour, **LINE)
            look = ON_ITS_WAY if at[-1] > now else _end(course, rests)
            axes.plot(*walked[-1], color=colour, **POINT, **look)
    ends = {"start": START, "on its way": ON_ITS_WAY, "ends at rest": AT_REST, "ends as time is up": MOVING}
    entries = [(Line2D([], [], color=INK, **POINT, **look), name) for name, look in ends.items()]
    add_legend(figure, cluster_entries(clusters) + entries)
    set_title(figure, result, title)
    return figure


def walked_by(course, times, now):
    """The part of a course up to a time, with where it is then as its end: (n_walked, 2).

    course : (n_points, 2).   times : (n_points,), from 0, ascending.   All of it where it ends before.
    """
    place = [np.interp(now, times, column) for column in course.T]
    return np.vstack([course[times <= now], place])


def heading(course):
    """Marker of a triangle that points where a course goes at its end; to the right where it does not move."""
    steps = np.diff(course, axis=0)
    moved = steps[np.hypot(*steps.T) > 0]
    angle = np.degrees(np.arctan2(*moved[-1][::-1])) if len(moved) else 0.0
    return 3, 0, angle - 90


def _end(course, rests):
    """How the end of a course is drawn."""
    return AT_REST if rests else MOVING | {"marker": heading(course)}
