"""Unspliced against spliced abundance of single genes, with the curve that was fitted."""

from veloshard.figures.phase import chosen_genes, draw_portrait, line_entries, title_of
from veloshard.figures.style import add_legend, cluster_entries, clusters_of, panel_grid, set_title, styled


@styled
def draw(result, *, style, genes=(), n_genes=8):
    """Draw a phase portrait of each of `genes`, or of the `n_genes` velocity genes that are fitted best.

    Points are cells at their first moments.  A dynamical fit adds its induction, its repression and the
    ratio at steady state, a linear fit its line; a gene without a fit shows its cells only.  Raises InputError if
    none of `genes` is in the result.
    """
    genes = chosen_genes(result, genes, n_genes)
    clusters = clusters_of(result, style)
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(genes), side, side)
    for axes, gene in zip(panels, genes, strict=False):
        fitted = draw_portrait(axes, result, gene, clusters, style=style._replace(panel_size=side))
        axes.set_title(title_of(result, gene, fitted))
    if not genes:
        panels[0].text(0.5, 0.5, "no velocity genes", ha="center", va="center")
    add_legend(figure, cluster_entries(clusters) + line_entries(panels))
    set_title(figure, result, "Phase portraits")
    return figure
