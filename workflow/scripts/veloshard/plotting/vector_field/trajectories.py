"""Trajectories of cells along a learned vector field."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import ARROWS, draw_clusters, embedding_of, embedding_panels
from veloshard.plotting._shared.style import INK, add_legend, cluster_entries, message_figure, set_title, styled

TITLE = "Trajectories of selected cells"

BACKWARD_TITLE = "Backward trajectories of selected cells"

# titles of the panels and shares of the longest duration
SHARES = {
    "1/4 of the longest time": 0.25,
    "2/4 of the longest time": 0.5,
    "3/4 of the longest time": 0.75,
    "the longest time": 1.0,
}

# panel size as a share of that of a figure with one panel
PANEL_SHARE = 0.8

CELL_ALPHA = 0.22

# factors of the cluster colors, as in the figure `arrows`: lines are darker than the cells of the same cluster
DARKER = (0.6, 0.6, 0.6, 1.0)

LINE = {"linewidth": 1.2, "path_effects": [withStroke(linewidth=2.2, foreground="white"), Normal()], "zorder": ARROWS}

POINT = {"linestyle": "", "zorder": ARROWS + 1}

START = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.1}

CURRENT = {"marker": "o", "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}

AT_REST = {"marker": "s", "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.5}

# a triangle that points to the right before it is rotated
MOVING = {"marker": (3, 0, -90), "markersize": 7.5, "markeredgecolor": "white", "markeredgewidth": 0.5}


@styled
def draw(result, values, *, style):
    """Draw complete trajectories, and trajectories up to shares of the longest duration, in the colors of the clusters.

    The color is that of the cluster in which a trajectory starts. A trajectory ends in a square if the field is at rest
    there, and in a triangle if it ended at the largest duration. After its end a cell stays where it is.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        `cells`, int (n_trajectories,); `coordinates`, (n_trajectories, n_points, 2), on the embedding; `times`,
        (n_trajectories, n_points), negative for backward trajectories; `ends_at_rest`, bool (n_trajectories,).
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    times = np.abs(values["times"])
    title = BACKWARD_TITLE if np.any(values["times"] < 0) else TITLE
    if not len(values["cells"]):
        return message_figure(result, style, title, "Nothing to draw: no cells were selected.")
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    clusters = clusters_of(result, style.palette)
    colors = clusters.cell_colors[values["cells"]] * DARKER
    figure, (complete, *partial) = embedding_panels(result, style, n_panels=1 + len(SHARES))
    for axes in (complete, *partial):
        draw_clusters(axes, embedding_of(result), clusters, style=style, alpha=CELL_ALPHA)
    complete.set_title("complete trajectories")
    for trajectory, color, at_rest in zip(values["coordinates"], colors, values["ends_at_rest"], strict=True):
        complete.plot(*trajectory.T, color=color, **LINE)
        complete.plot(*trajectory[0], color=color, **POINT, **START)
        complete.plot(*trajectory[-1], color=color, **POINT, **_end_marker(trajectory, at_rest))
    for axes, (name, share) in zip(partial, SHARES.items(), strict=True):
        time = share * times.max()
        axes.set_title(f"after {name} ({time:.3g})")
        for trajectory, trajectory_times, color, at_rest in zip(
            values["coordinates"], times, colors, values["ends_at_rest"], strict=True
        ):
            part = trajectory_until(trajectory, trajectory_times, time)
            axes.plot(*part.T, color=color, **LINE)
            marker = CURRENT if trajectory_times[-1] > time else _end_marker(trajectory, at_rest)
            axes.plot(*part[-1], color=color, **POINT, **marker)
    markers = {"start": START, "at this time": CURRENT, "end, at rest": AT_REST, "end, still moving": MOVING}
    entries = [(Line2D([], [], color=INK, **POINT, **marker), name) for name, marker in markers.items()]
    add_legend(figure, cluster_entries(clusters) + entries)
    set_title(figure, result, title)
    return figure


def trajectory_until(trajectory, times, time):
    """Return the part of a trajectory up to a time, with the interpolated point at that time as its end.

    Parameters
    ----------
    trajectory : ndarray of float, shape (n_points, 2)
        Points of the trajectory.
    times : ndarray of float, shape (n_points,)
        Times of the points, increasing from 0.
    time : float
        Time at which the part ends; the whole trajectory is returned if it ended before.

    Returns
    -------
    ndarray of float, shape (n_part_points, 2)
        Points of the part.
    """
    end = [np.interp(time, times, column) for column in trajectory.T]
    return np.vstack([trajectory[times <= time], end])


def direction_marker(trajectory):
    """Return the marker of a triangle in the direction of the end of a trajectory; to the right if it does not move."""
    steps = np.diff(trajectory, axis=0)
    moving_steps = steps[np.hypot(*steps.T) > 0]
    angle = np.degrees(np.arctan2(*moving_steps[-1][::-1])) if len(moving_steps) else 0.0
    return 3, 0, angle - 90


def _end_marker(trajectory, at_rest):
    return AT_REST if at_rest else MOVING | {"marker": direction_marker(trajectory)}
