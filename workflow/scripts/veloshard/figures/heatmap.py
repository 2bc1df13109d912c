"""Expression of the best fitted genes along the time of the cells."""

import numpy as np

from veloshard.figures.phase import best_genes, column_of
from veloshard.figures.style import (
    TITLE_HEIGHT,
    add_legend,
    cluster_entries,
    clusters_of,
    new_figure,
    set_title,
    styled,
    time_of,
    words_instead,
)

TITLE = "Expression along time"

# cells of a running mean, as a share of all and at least
WINDOW = 0.02
FEWEST_CELLS = 10

# columns of the picture; more of them are not seen
N_COLUMNS = 500

# inches
STRIP_HEIGHT = 0.45
WIDTH = 5.0

# of the size of other labels
GENE_LABELS = 0.7


@styled
def draw(result, *, style, n_genes=50):
    """Draw the spliced abundance (Ms) of the `n_genes` best fitted velocity genes in the order of latent time.

    Velocity pseudotime takes the place of latent time where the method has none.  Each gene is averaged over a
    running window of cells, then scaled to 0 ... 1; genes are ordered by where they are highest.  The strip above
    gives the shares of the clusters in the same windows.  Cells without a time are left out.  Raises InputError
    when `obs` has no time.
    """
    column, label = time_of(result)
    time = result.obs[column].to_numpy(dtype=np.float64)
    order = np.argsort(time, kind="stable")[: np.isfinite(time).sum()]
    genes = best_genes(result.var, n_genes)
    if not genes or not len(order):
        lacks = "no gene has a velocity" if len(order) else "no cell has a time"
        return words_instead(result, style, TITLE, f"There is nothing to show: {lacks}.")
    width = min(len(order), max(FEWEST_CELLS, round(WINDOW * len(order))))
    seen = np.unique(np.linspace(0, len(order) - 1, N_COLUMNS).round().astype(int))
    profiles = scaled_rows([running_mean(column_of(result, "Ms", gene)[order], width)[seen] for gene in genes])
    by_peak = np.argsort(profiles.argmax(axis=1), kind="stable")

    clusters = clusters_of(result, style)
    pitch = 1.3 * GENE_LABELS * style.font_size / 72
    strip_height = STRIP_HEIGHT if len(clusters.names) else 0.0
    height = max(pitch * len(genes), 1.0)
    figure = new_figure(WIDTH + 1.6, height + strip_height + TITLE_HEIGHT + 0.6)
    if len(clusters.names):
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=(strip_height, height))
        shares = [running_mean((clusters.codes == code)[order], width)[seen] for code in range(len(clusters.names))]
        strip.stackplot(np.arange(len(seen)), shares, colors=clusters.colours, linewidth=0)
        strip.set(ylim=(0, 1), yticks=[])
        strip.spines[:].set_visible(False)
        strip.tick_params(bottom=False)
    else:
        axes = figure.subplots()
    image = axes.imshow(profiles[by_peak], aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(genes)), [genes[i] for i in by_peak], fontsize=GENE_LABELS * style.font_size)
    axes.tick_params(axis="y", length=0)
    ticks = np.unique(np.linspace(0, len(seen) - 1, 6).round().astype(int))
    axes.set_xticks(ticks, [f"{value:.2g}" for value in time[order[seen[ticks]]]])
    axes.set_xlabel(f"{label.lower()} of the cells, evenly spaced by rank\nrunning mean of {width:,} cells")
    figure.colorbar(
        image, ax=axes, label="spliced, each gene scaled", shrink=min(1.0, 2.0 / height), aspect=25
    ).outline.set_visible(False)
    add_legend(figure, cluster_entries(clusters))
    set_title(figure, result, TITLE)
    return figure


def running_mean(values, width):
    """Mean of the `width` values around each, (n,); at the ends of those that there are.

    values : (n,), no NaN.
    """
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    first = np.maximum(np.arange(len(values)) - width // 2, 0)
    last = np.minimum(np.arange(len(values)) - width // 2 + width, len(values))
    return (total[last] - total[first]) / (last - first)


def scaled_rows(rows):
    """Rows scaled so that each reaches from 0 to 1, (n_rows, n_columns); 0 throughout where one is constant."""
    rows = np.asarray(rows) - np.min(rows, axis=1, keepdims=True)
    top = rows.max(axis=1, keepdims=True)
    return np.divide(rows, top, out=np.zeros_like(rows), where=top > 0)
