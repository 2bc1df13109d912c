"""Phase portrait, velocity and expression of single genes."""

from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import (
    COLORBAR_WIDTH,
    draw_values,
    embedding_of,
    panel_shape,
    set_embedding_limits,
)
from veloshard.plotting._shared.phase_portrait import (
    draw_phase_portrait,
    gene_title,
    layer_column,
    line_entries,
    select_genes,
)
from veloshard.plotting._shared.style import (
    TITLE_HEIGHT,
    add_legend,
    cluster_entries,
    message_figure,
    new_figure,
    set_title,
    styled,
)

# analyses that the figure shows
INPUTS = ("embedding", "fit")

TITLE = "Velocity and expression of genes"

# size of a panel relative to the panel of a figure with one panel
PANEL_SHARE = 0.42

# percentile of the values at which the colors end
PERCENTILE = 98


@styled
def draw(result, *, style, genes=(), n_genes=4):
    """Draw one row of three panels per gene: phase portrait, velocity and spliced abundance (Ms).

    The colors of the velocity are symmetric about 0 and end at the 98th percentile of its absolute values. The colors
    of the abundance end at its 98th percentile.

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
    if not genes:
        return message_figure(result, style, TITLE, "No gene has a velocity.")
    clusters, embedding = clusters_of(result, style.palette), embedding_of(result)
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    side = style.panel_size
    width, height = panel_shape(result, style)
    # the portrait is wider by its labels, and the row is higher by its title
    columns = (1.3 * side, *2 * [0.85 * width + COLORBAR_WIDTH])
    figure = new_figure(sum(columns), len(genes) * (max(height, side) + 0.2) + TITLE_HEIGHT)
    panels = figure.subplots(len(genes), 3, squeeze=False, width_ratios=columns)
    for (portrait, velocity, expression), gene in zip(panels, genes, strict=True):
        fitted = draw_phase_portrait(portrait, result, gene, clusters, style=style)
        portrait.set_title(gene_title(result, gene, fitted).replace("\n", ", "), fontsize="medium")
        options = {"style": style, "percentiles": (0, PERCENTILE), "shrink": 0.8}
        draw_values(
            velocity, embedding, layer_column(result, "velocity", gene), label="velocity", cmap="coolwarm",
            symmetric=True, **options,
        )  # fmt: skip
        draw_values(expression, embedding, layer_column(result, "Ms", gene), label="spliced", **options)
        for axes in (velocity, expression):
            set_embedding_limits(axes, result)
    add_legend(figure, cluster_entries(clusters) + line_entries(panels[:, 0]))
    set_title(figure, result, TITLE)
    return figure
