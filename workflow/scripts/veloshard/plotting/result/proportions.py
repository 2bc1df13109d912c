"""Proportions of spliced and unspliced counts, in all cells and per cluster."""

import numpy as np
from matplotlib.patches import Patch

from veloshard.errors import InputError, choices
from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.style import add_legend, new_figure, set_title, styled, widen_by_labels

# analyses that the figure shows
INPUTS = ()

COLORS = {"spliced": "#9ECAE9", "unspliced": "#F2A65A"}

# inches
BAR_PITCH, BAR_LENGTH = 0.26, 4.0

# smallest proportion whose percentage fits into the bar
MIN_WRITTEN = 0.08


@styled
def draw(result, *, style):
    """Draw the mean proportions of spliced and unspliced counts as one bar for all cells and one per cluster.

    Counts are those before genes were filtered. Cells without counts are left out.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` lacks `initial_size_spliced` or `initial_size_unspliced`.
    """
    sizes = np.column_stack([_initial_size(result, layer) for layer in COLORS])
    clusters = clusters_of(result, style.palette)
    has_counts = sizes.sum(axis=1) > 0
    groups = [("all cells", has_counts)]
    groups += [(name, has_counts & (clusters.codes == code)) for code, name in enumerate(clusters.names)]

    figure = new_figure(BAR_LENGTH + 1.0, BAR_PITCH * (len(groups) + 1) + 0.8)
    axes = figure.subplots()
    # the bar of all cells is set apart from the clusters
    heights = [-0.4, *range(1, len(groups))]
    for (_, members), height in zip(groups, heights, strict=True):
        _draw_bar(axes, height, _mean_proportions(sizes[members]))
    labels = [f"{name} ({members.sum():,})" for name, members in groups]
    axes.set_yticks(heights, labels)
    widen_by_labels(figure, axes)
    axes.scatter(np.full(len(clusters.names), -0.02), heights[1:], c=clusters.colors, s=30, clip_on=False, zorder=3)
    axes.tick_params(axis="y", length=0, pad=11)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, 1), ylim=(len(groups) - 0.4, -1.0), xlabel="mean proportion of the counts of a cell")
    axes.xaxis.set_major_formatter("{x:.0%}")
    add_legend(figure, [(Patch(color=color), layer) for layer, color in COLORS.items()])
    set_title(figure, result, "Proportions of spliced and unspliced counts")
    return figure


def _initial_size(result, layer):
    column = f"initial_size_{layer}"
    if column not in result.obs:
        raise InputError(f"no column {column!r} in obs ({choices(result.obs.columns, column)}).")
    return np.asarray(result.obs[column], dtype=np.float64)


def _mean_proportions(sizes):
    """Return the mean proportion of each layer, NaN without cells; `sizes` has the shape (n_cells, n_layers)."""
    if len(sizes) == 0:
        return np.full(sizes.shape[1], np.nan)
    return (sizes / sizes.sum(axis=1, keepdims=True)).mean(axis=0)


def _draw_bar(axes, height, proportions):
    """Draw one bar with the percentages written into it where they fit; no bar for NaN."""
    if np.isnan(proportions).any():
        return
    starts = np.cumsum(proportions) - proportions
    for color, start, proportion in zip(COLORS.values(), starts, proportions, strict=True):
        axes.barh(height, proportion, left=start, height=0.78, color=color)
        if proportion > MIN_WRITTEN:
            axes.text(start + proportion / 2, height, f"{proportion:.0%}", ha="center", va="center", fontsize="small")
