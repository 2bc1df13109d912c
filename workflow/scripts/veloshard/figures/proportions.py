"""How much of the RNA is spliced and unspliced, overall and in each cluster."""

import numpy as np
from matplotlib.patches import Patch

from veloshard.errors import InputError, choices
from veloshard.figures.style import add_legend, clusters_of, new_figure, set_title, styled, widen_by_labels

COLOURS = {"spliced": "#9ECAE9", "unspliced": "#F2A65A"}

# inches
BAR_PITCH = 0.26
BAR_LENGTH = 4.0


@styled
def draw(result, *, style):
    """Draw the mean share of spliced and unspliced counts as a bar for all cells and for each cluster.

    Shares are those of a cell's counts before genes were filtered; cells without counts are left out.  Raises
    InputError when `obs` lacks initial_size_spliced or initial_size_unspliced.
    """
    sizes = np.column_stack([_size(result, layer) for layer in COLOURS])
    clusters = clusters_of(result, style)
    counted = sizes.sum(axis=1) > 0
    groups = [("all cells", counted)]
    groups += [(name, counted & (clusters.codes == code)) for code, name in enumerate(clusters.names)]

    figure = new_figure(BAR_LENGTH + 1.0, BAR_PITCH * (len(groups) + 1) + 0.8)
    axes = figure.subplots()
    # all cells stand apart from the clusters
    heights = [-0.4, *range(1, len(groups))]
    for (_, members), height in zip(groups, heights, strict=True):
        _draw_bar(axes, height, _mean_shares(sizes[members]))
    labels = [f"{name} ({members.sum():,})" for name, members in groups]
    axes.set_yticks(heights, labels)
    widen_by_labels(figure, axes)
    axes.scatter(np.full(len(clusters.names), -0.02), heights[1:], c=clusters.colours, s=30, clip_on=False, zorder=3)
    axes.tick_params(axis="y", length=0, pad=11)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, 1), ylim=(len(groups) - 0.4, -1.0), xlabel="mean share of a cell's counts")
    axes.xaxis.set_major_formatter("{x:.0%}")
    add_legend(figure, [(Patch(color=colour), layer) for layer, colour in COLOURS.items()])
    set_title(figure, result, "Spliced and unspliced counts")
    return figure


def _size(result, layer):
    column = f"initial_size_{layer}"
    if column not in result.obs:
        raise InputError(f"no column {column!r} in obs ({choices(result.obs.columns, column)}).")
    return np.asarray(result.obs[column], dtype=np.float64)


def _mean_shares(sizes):
    """Mean share of each layer, (n_layers,), NaN for no cells.  sizes : (n_cells, n_layers)."""
    if len(sizes) == 0:
        return np.full(sizes.shape[1], np.nan)
    return (sizes / sizes.sum(axis=1, keepdims=True)).mean(axis=0)


def _draw_bar(axes, height, shares):
    """Draw one bar with the percentages written in it, where they fit; no bar for NaN."""
    if np.isnan(shares).any():
        return
    starts = np.cumsum(shares) - shares
    for colour, start, share in zip(COLOURS.values(), starts, shares, strict=True):
        axes.barh(height, share, left=start, height=0.78, color=colour)
        if share > 0.08:
            axes.text(start + share / 2, height, f"{share:.0%}", ha="center", va="center", fontsize="small")
