"""The genes that set the velocities of each cluster apart."""

import textwrap

import numpy as np
from matplotlib.lines import Line2D

from veloshard.errors import InputError
from veloshard.figures.style import (
    INK,
    add_legend,
    clusters_of,
    panel_grid,
    set_title,
    styled,
    words_instead,
)

TITLE = "Genes by velocity score"

# q-values below this are marked
SIGNIFICANT = 0.05

# characters of a line of a panel's title
TITLE_CHARACTERS = 24

# inches
GENE_PITCH = 0.21


@styled
def draw(result, *, style, n_genes=5):
    """Draw the scores of the `n_genes` genes that score highest in each cluster, one panel a cluster.

    Dots are filled where the q-value (`pvals_adj`) is below 0.05.  A result without
    clusters, or of which none could be compared, gives a figure that says so.  Raises InputError when
    `uns['rank_velocity_genes']` lacks names, scores or pvals_adj.
    """
    clusters = clusters_of(result, style)
    if not clusters.names:
        return words_instead(result, style, TITLE, "This dataset has no clusters whose velocities could be compared.")
    ranked = result.uns.get("rank_velocity_genes")
    if ranked is None:
        return words_instead(result, style, TITLE, "The velocities of no cluster could be compared with the others.")
    missing = [key for key in ("names", "scores", "pvals_adj") if key not in ranked]
    if missing:
        raise InputError(f"uns['rank_velocity_genes'] lacks {', '.join(missing)}: rank the genes first.")
    colours = dict(zip(clusters.names, clusters.colours, strict=True))
    names = [name for name in clusters.names if name in ranked["names"].dtype.names]
    figure, panels = panel_grid(len(names), 0.62 * style.panel_size, GENE_PITCH * n_genes + 0.65)
    for axes, name in zip(panels, names, strict=True):
        genes, scores, q = (np.asarray(ranked[key][name])[:n_genes] for key in ("names", "scores", "pvals_adj"))
        _draw_scores(axes, genes, scores, q, colours[name])
        axes.set_ylim(n_genes - 0.4, -0.6)
        axes.set_title(textwrap.fill(name, TITLE_CHARACTERS))
    # scores of different clusters may be compared
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    entries = [("q < 0.05", INK), ("not significant", "white")]
    add_legend(
        figure,
        [
            (Line2D([], [], linestyle="", marker="o", markerfacecolor=fill, markeredgecolor=INK), label)
            for label, fill in entries
        ],
    )
    set_title(figure, result, TITLE)
    return figure


def _draw_scores(axes, genes, scores, q, colour):
    """Draw a dot for each gene, from the top, and the stem that leads to it; genes without a score stay out."""
    scored = np.isfinite(np.asarray(scores, dtype=np.float64))
    heights = np.arange(len(genes))
    significant = scored & (np.asarray(q, dtype=np.float64) < SIGNIFICANT)
    axes.hlines(heights[scored], 0, scores[scored], color=colour, linewidth=1.2)
    for chosen, fill in ((significant, colour), (scored & ~significant, "white")):
        axes.scatter(scores[chosen], heights[chosen], s=28, color=fill, edgecolors=colour, linewidths=1.2, zorder=3)
    axes.set_yticks(heights[scored], [str(gene) for gene in genes[scored]])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score")
