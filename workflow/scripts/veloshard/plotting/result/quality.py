"""Counts, genes and unspliced fraction of the cells, with the bounds of the quality checks."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from veloshard.errors import InputError, choices
from veloshard.output.cluster_colors import NEUTRAL, clusters_of
from veloshard.plotting._shared.style import INK, new_figure, set_title, styled, widen_by_labels

# analyses that the figure shows
INPUTS = ()

COLUMNS = ("initial_size_spliced", "initial_size_unspliced", "n_genes", "unspliced_fraction")

N_BINS = 50

MEAN_MARKER = {"marker": "o", "markersize": 4, "markerfacecolor": INK, "markeredgecolor": INK}


@styled
def draw(result, *, style, min_counts=500, min_genes=100, min_unspliced_fraction=0.05, max_unspliced_fraction=0.5):
    """Draw histograms of counts and genes per cell with their medians, and unspliced fractions per cluster.

    Dashed lines are the bounds of the quality checks.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    min_counts, min_genes : float
        Lower bounds of the medians over cells.
    min_unspliced_fraction, max_unspliced_fraction : float
        Bounds of the mean unspliced fraction.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` lacks one of the columns.
    """
    missing = [column for column in COLUMNS if column not in result.obs]
    if missing:
        raise InputError(f"no column {missing[0]!r} in obs ({choices(result.obs.columns, missing[0])}).")
    clusters = clusters_of(result, style.palette)
    size = style.panel_size
    figure = new_figure(3 * size, max(size * 0.8, 0.24 * len(clusters.names) + 0.8))
    counts_axes, genes_axes, fraction_axes = figure.subplots(1, 3)
    counts = result.obs["initial_size_spliced"] + result.obs["initial_size_unspliced"]
    _draw_histogram(counts_axes, counts, min_counts, "counts per cell, spliced and unspliced")
    _draw_histogram(genes_axes, result.obs["n_genes"], min_genes, "genes per cell")
    fractions = result.obs["unspliced_fraction"].to_numpy(dtype=np.float64)
    groups = [("all cells", np.ones(len(fractions), bool), NEUTRAL)]
    named_colors = zip(clusters.names, clusters.colors, strict=True)
    groups += [(name, clusters.codes == code, color) for code, (name, color) in enumerate(named_colors)]
    _draw_fractions(fraction_axes, fractions, groups, (min_unspliced_fraction, max_unspliced_fraction))
    widen_by_labels(figure, fraction_axes)
    set_title(figure, result, "Counts, genes and unspliced fraction per cell")
    return figure


def _draw_histogram(axes, values, lower_bound, label):
    values = pd.to_numeric(values).to_numpy(dtype=np.float64)
    values = values[values > 0]
    if len(values):
        low, high = min(values.min(), max(lower_bound, 1)), values.max()
        axes.hist(values, bins=np.geomspace(low, high * 1.001, N_BINS), color=NEUTRAL)
        axes.axvline(np.median(values), color=INK, linewidth=1.2)
    if lower_bound > 0:
        axes.axvline(lower_bound, color=INK, linewidth=1.0, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=label, ylabel="cells")


def _draw_fractions(axes, fractions, groups, bounds):
    for height, (_, members, color) in enumerate(groups):
        values = fractions[members]
        values = values[np.isfinite(values)]
        if len(values):
            boxes = axes.boxplot(
                values, positions=[height], orientation="horizontal", widths=0.6, showfliers=False, patch_artist=True,
                showmeans=True, meanprops=MEAN_MARKER, medianprops={"linewidth": 0},
            )  # fmt: skip
            boxes["boxes"][0].set(facecolor=color, linewidth=0.7)
    for bound in bounds:
        axes.axvline(bound, color=INK, linewidth=1.0, linestyle="--")
    axes.set_yticks(range(len(groups)), [f"{name} ({members.sum():,})" for name, members, _ in groups])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(groups) - 0.4, -0.6), xlabel="unspliced fraction per cell (dot: mean)")
    axes.set_xlim(left=0)
