"""Heatmap of the expression of the best-fitted genes along the time of the cells."""

import numpy as np

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.phase_portrait import best_genes, layer_column
from veloshard.plotting._shared.style import (
    TITLE_HEIGHT,
    add_legend,
    cluster_entries,
    message_figure,
    new_figure,
    set_title,
    styled,
    time_column,
)

# analyses that the figure shows
INPUTS = ("fit", "pseudotime")

TITLE = "Expression along time"

# window of the running mean as a fraction of all cells, and its minimum in cells
WINDOW, MIN_WINDOW = 0.02, 10

# columns of the image; more of them would not be visible
N_COLUMNS = 500

# inches
STRIP_HEIGHT, WIDTH = 0.45, 5.0

# font size of gene names relative to that of other labels
GENE_LABEL_SIZE = 0.7


@styled
def draw(result, *, style, n_genes=50):
    """Draw the spliced abundance (Ms) of the best-fitted velocity genes in the order of latent time.

    Methods without latent time have velocity pseudotime. Each gene is averaged over a running window of cells, then
    scaled to 0 ... 1. Genes are sorted by the position of their peak. The strip above shows the fractions of the
    clusters in the same windows. Cells without a time are left out.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    n_genes : int
        Largest number of genes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` has no time.
    """
    column, label = time_column(result)
    time = result.obs[column].to_numpy(dtype=np.float64)
    order = np.argsort(time, kind="stable")[: np.isfinite(time).sum()]
    genes = best_genes(result.var, n_genes)
    if not genes or not len(order):
        reason = "No gene has a velocity." if len(order) else "No cell has a time."
        return message_figure(result, style, TITLE, reason)
    width = min(len(order), max(MIN_WINDOW, round(WINDOW * len(order))))
    shown = np.unique(np.linspace(0, len(order) - 1, N_COLUMNS).round().astype(int))
    profiles = scale_rows([running_mean(layer_column(result, "Ms", gene)[order], width)[shown] for gene in genes])
    by_peak = np.argsort(profiles.argmax(axis=1), kind="stable")

    clusters = clusters_of(result, style.palette)
    pitch = 1.3 * GENE_LABEL_SIZE * style.font_size / 72
    strip_height = STRIP_HEIGHT if len(clusters.names) else 0.0
    height = max(pitch * len(genes), 1.0)
    figure = new_figure(WIDTH + 1.6, height + strip_height + TITLE_HEIGHT + 0.6)
    if len(clusters.names):
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=(strip_height, height))
        fractions = [running_mean((clusters.codes == code)[order], width)[shown] for code in range(len(clusters.names))]
        strip.stackplot(np.arange(len(shown)), fractions, colors=clusters.colors, linewidth=0)
        strip.set(ylim=(0, 1), yticks=[])
        strip.spines[:].set_visible(False)
        strip.tick_params(bottom=False)
    else:
        axes = figure.subplots()
    image = axes.imshow(profiles[by_peak], aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(genes)), [genes[i] for i in by_peak], fontsize=GENE_LABEL_SIZE * style.font_size)
    axes.tick_params(axis="y", length=0)
    ticks = np.unique(np.linspace(0, len(shown) - 1, 6).round().astype(int))
    axes.set_xticks(ticks, [f"{value:.2g}" for value in time[order[shown[ticks]]]])
    axes.set_xlabel(f"{label.lower()} (cells evenly spaced by rank)\nrunning mean of {width:,} cells")
    figure.colorbar(
        image, ax=axes, label="spliced, scaled per gene", shrink=min(1.0, 2.0 / height), aspect=25
    ).outline.set_visible(False)
    add_legend(figure, cluster_entries(clusters))
    set_title(figure, result, TITLE)
    return figure


def running_mean(values, width):
    """Return the running mean of values, over fewer values at both ends.

    Parameters
    ----------
    values : ndarray of float or bool, shape (n_values,)
        Values without NaN.
    width : int
        Number of values in a window.

    Returns
    -------
    ndarray of float64, shape (n_values,)
        Mean of the window around each value.
    """
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    first = np.maximum(np.arange(len(values)) - width // 2, 0)
    last = np.minimum(np.arange(len(values)) - width // 2 + width, len(values))
    return (total[last] - total[first]) / (last - first)


def scale_rows(rows):
    """Return the rows of a matrix, each scaled linearly to 0 ... 1; a constant row is 0."""
    rows = np.asarray(rows) - np.min(rows, axis=1, keepdims=True)
    top = rows.max(axis=1, keepdims=True)
    return np.divide(rows, top, out=np.zeros_like(rows), where=top > 0)
