"""Genes that rank highest by velocity in each cluster."""

import textwrap

import numpy as np
from matplotlib.lines import Line2D

from veloshard.errors import InputError
from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.style import INK, add_legend, message_figure, panel_grid, set_title, styled

# analyses that the figure shows
INPUTS = ("ranking",)

TITLE = "Genes ranked by velocity"

# upper bound of the q-value of a filled dot
SIGNIFICANT = 0.05

# characters per line of a panel title
TITLE_CHARACTERS = 24

# inches
GENE_PITCH = 0.21


@styled
def draw(result, *, style, n_genes=5):
    """Draw the scores of the genes that rank highest in each cluster.

    Dots are filled where the q-value (`pvals_adj`) is below 0.05. A message replaces the figure if the result has no
    clusters or no cluster could be compared.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result. `uns["rank_velocity_genes"]` holds `names`, `scores` and `pvals_adj`.
    style : Style
        Style of the figure.
    n_genes : int
        Number of genes per cluster.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per cluster.

    Raises
    ------
    InputError
        If `uns["rank_velocity_genes"]` is incomplete.
    """
    clusters = clusters_of(result, style.palette)
    if not clusters.names:
        return message_figure(result, style, TITLE, "This dataset has no clusters.")
    ranking = result.uns.get("rank_velocity_genes")
    if ranking is None:
        return message_figure(result, style, TITLE, "No cluster could be compared with the other cells.")
    missing = [key for key in ("names", "scores", "pvals_adj") if key not in ranking]
    if missing:
        raise InputError(f"uns['rank_velocity_genes'] lacks {', '.join(missing)}. Rank the genes first.")
    colors = dict(zip(clusters.names, clusters.colors, strict=True))
    names = [name for name in clusters.names if name in ranking["names"].dtype.names]
    figure, panels = panel_grid(len(names), 0.62 * style.panel_size, GENE_PITCH * n_genes + 0.65)
    for axes, name in zip(panels, names, strict=True):
        genes, scores, q_values = (np.asarray(ranking[key][name])[:n_genes] for key in ("names", "scores", "pvals_adj"))
        _draw_scores(axes, genes, scores, q_values, colors[name])
        axes.set_ylim(n_genes - 0.4, -0.6)
        axes.set_title(textwrap.fill(name, TITLE_CHARACTERS))
    # common limits, because scores can be compared between clusters
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    entries = [(f"q < {SIGNIFICANT}", INK), ("not significant", "white")]
    add_legend(
        figure,
        [
            (Line2D([], [], linestyle="", marker="o", markerfacecolor=fill, markeredgecolor=INK), label)
            for label, fill in entries
        ],
    )
    set_title(figure, result, TITLE)
    return figure


def _draw_scores(axes, genes, scores, q_values, color):
    """Draw a dot with a stem for each gene, from top to bottom; genes without a score are left out."""
    has_score = np.isfinite(np.asarray(scores, dtype=np.float64))
    heights = np.arange(len(genes))
    significant = has_score & (np.asarray(q_values, dtype=np.float64) < SIGNIFICANT)
    axes.hlines(heights[has_score], 0, scores[has_score], color=color, linewidth=1.2)
    for dots, fill in ((significant, color), (has_score & ~significant, "white")):
        axes.scatter(scores[dots], heights[dots], s=28, color=fill, edgecolors=color, linewidths=1.2, zorder=3)
    axes.set_yticks(heights[has_score], [str(gene) for gene in genes[has_score]])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score")
