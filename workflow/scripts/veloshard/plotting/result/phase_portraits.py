"""Phase portraits: unspliced against spliced abundance of single genes, with the fit."""

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.phase_portrait import draw_phase_portrait, gene_title, line_entries, select_genes
from veloshard.plotting._shared.style import add_legend, cluster_entries, panel_grid, set_title, styled

# analyses that the figure shows
INPUTS = ("fit",)


@styled
def draw(result, *, style, genes=(), n_genes=8):
    """Draw one phase portrait per gene.

    A point is a cell at its moments. A dynamical fit is drawn as induction, repression and steady-state line, a linear
    fit as its line. A gene without a fit has only cells.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    genes : sequence of str
        Genes to draw; empty for the best-fitted velocity genes.
    n_genes : int
        Number of best-fitted velocity genes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If the result has none of `genes`.
    """
    genes = select_genes(result, genes, n_genes)
    clusters = clusters_of(result, style.palette)
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(genes), side, side)
    for axes, gene in zip(panels, genes, strict=False):
        fitted = draw_phase_portrait(axes, result, gene, clusters, style=style._replace(panel_size=side))
        axes.set_title(gene_title(result, gene, fitted))
    if not genes:
        panels[0].text(0.5, 0.5, "no velocity genes", ha="center", va="center")
    add_legend(figure, cluster_entries(clusters) + line_entries(panels))
    set_title(figure, result, "Phase portraits")
    return figure
