"""What cells hold: counts, genes and unspliced fraction, against what is usual."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from veloshard.errors import InputError, choices
from veloshard.figures.style import INK, NEUTRAL, clusters_of, new_figure, set_title, styled, widen_by_labels

COLUMNS = ("initial_size_spliced", "initial_size_unspliced", "n_genes", "unspliced_fraction")
N_BINS = 50


@styled
def draw(result, *, style, min_counts=500, min_genes=100, min_unspliced_fraction=0.05, max_unspliced_fraction=0.5):
    """Draw the cells' counts and genes as histograms, and their unspliced fractions by cluster.

    Dashed lines mark what is usual: `min_counts` and `min_genes` of the medians, which are drawn too, and the bounds of
    the mean unspliced fraction.  Raises InputError when `obs` lacks one of the columns.
    """
    missing = [column for column in COLUMNS if column not in result.obs]
    if missing:
        raise InputError(f"no column {missing[0]!r} in obs ({choices(result.obs.columns, missing[0])}).")
    clusters = clusters_of(result, style)
    size = style.panel_size
    figure = new_figure(3 * size, max(size * 0.8, 0.24 * len(clusters.names) + 0.8))
    by_counts, by_genes, by_fraction = figure.subplots(1, 3)
    counts = result.obs["initial_size_spliced"] + result.obs["initial_size_unspliced"]
    _draw_histogram(by_counts, counts, min_counts, "counts of a cell, spliced and unspliced")
    _draw_histogram(by_genes, result.obs["n_genes"], min_genes, "genes of a cell")
    fractions = result.obs["unspliced_fraction"].to_numpy(dtype=np.float64)
    groups = [("all cells", np.ones(len(fractions), bool), NEUTRAL)]
    named = zip(clusters.names, clusters.colours, strict=True)
    groups += [(name, clusters.codes == code, colour) for code, (name, colour) in enumerate(named)]
    _draw_fractions(by_fraction, fractions, groups, (min_unspliced_fraction, max_unspliced_fraction))
    widen_by_labels(figure, by_fraction)
    set_title(figure, result, "Counts, genes and unspliced fraction of the cells")
    return figure


def _draw_histogram(axes, values, least, label):
    values = pd.to_numeric(values).to_numpy(dtype=np.float64)
    values = values[values > 0]
    if len(values):
        low, high = min(values.min(), max(least, 1)), values.max()
        axes.hist(values, bins=np.geomspace(low, high * 1.001, N_BINS), color=NEUTRAL)
        axes.axvline(np.median(values), color=INK, linewidth=1.2)
    if least > 0:
        axes.axvline(least, color=INK, linewidth=1.0, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=label, ylabel="cells")


def _draw_fractions(axes, fractions, groups, bounds):
    for height, (_, members, colour) in enumerate(groups):
        values = fractions[members]
        values = values[np.isfinite(values)]
        if len(values):
            dot = {"marker": "o", "markersize": 4, "markerfacecolor": INK, "markeredgecolor": INK}
            boxes = axes.boxplot(
                values, positions=[height], orientation="horizontal", widths=0.6, showfliers=False, patch_artist=True,
                showmeans=True, meanprops=dot, medianprops={"linewidth": 0},
            )  # fmt: skip
            boxes["boxes"][0].set(facecolor=colour, linewidth=0.7)
    for bound in bounds:
        axes.axvline(bound, color=INK, linewidth=1.0, linestyle="--")
    axes.set_yticks(range(len(groups)), [f"{name} ({members.sum():,})" for name, members, _ in groups])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(groups) - 0.4, -0.6), xlabel="unspliced fraction of a cell; dot: mean")
    axes.set_xlim(left=0)
