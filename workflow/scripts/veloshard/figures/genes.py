"""Single genes: phase portrait, and velocity and expression on the embedding."""

from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, frame, panel_shape, positions_of
from veloshard.figures.phase import chosen_genes, column_of, draw_portrait, line_entries, title_of
from veloshard.figures.style import (
    TITLE_HEIGHT,
    add_legend,
    cluster_entries,
    clusters_of,
    new_figure,
    set_title,
    styled,
    words_instead,
)

TITLE = "Velocity and expression of genes"

# of a panel that stands alone
PANEL_SHARE = 0.42


@styled
def draw(result, *, style, genes=(), n_genes=4):
    """Draw each of `genes`, or of the `n_genes` velocity genes that are fitted best, as a row of three panels.

    They are its phase portrait as in the figure of that name, its velocity and its spliced abundance (Ms) on
    the embedding.  The colours of the velocity are symmetric about 0 and end at the 98th percentile of its size,
    those of the abundance at its 98th percentile.  Raises InputError if none of `genes` is in
    the result.
    """
    genes = chosen_genes(result, genes, n_genes)
    if not genes:
        return words_instead(result, style, TITLE, "No gene has a velocity, so that there is none to show.")
    clusters, positions = clusters_of(result, style), positions_of(result)
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    side = style.panel_size
    width, height = panel_shape(result, style)
    # titles and labels of the portraits take their share of the height, and the embedding keeps its shape
    columns = (1.3 * side, *2 * [0.85 * width + COLOURBAR_WIDTH])
    figure = new_figure(sum(columns), len(genes) * (max(height, side) + 0.2) + TITLE_HEIGHT)
    panels = figure.subplots(len(genes), 3, squeeze=False, width_ratios=columns)
    for (portrait, velocity, expression), gene in zip(panels, genes, strict=True):
        fitted = draw_portrait(portrait, result, gene, clusters, style=style)
        portrait.set_title(title_of(result, gene, fitted).replace("\n", ", "), fontsize="medium")
        on_embedding = {"style": style, "percentiles": (0, 98), "shrink": 0.8}
        draw_values(
            velocity, positions, column_of(result, "velocity", gene), label="velocity", cmap="coolwarm",
            symmetric=True, **on_embedding,
        )  # fmt: skip
        draw_values(expression, positions, column_of(result, "Ms", gene), label="spliced", **on_embedding)
        for axes in (velocity, expression):
            frame(axes, result)
    add_legend(figure, cluster_entries(clusters) + line_entries(panels[:, 0]))
    set_title(figure, result, TITLE)
    return figure
