"""How well genes are fitted, from the best to the worst."""

import numpy as np
from matplotlib.lines import Line2D

from veloshard.figures.embedding import RASTERISE_ABOVE
from veloshard.figures.phase import SCORES, best_genes, score_of
from veloshard.figures.style import INK, NEUTRAL, OKABE_ITO, add_legend, new_figure, set_title, styled, words_instead

TITLE = "How well genes are fitted"
# where a line is worse than that than no line, how much worse tells nothing
LOWEST = -0.5

# where the names of the best genes begin and how far apart they are, as shares of the panel
NAMES_AT, NAME_PITCH = (0.24, 0.97), 0.05

COLOURS = {"velocity gene": OKABE_ITO[0], "other gene": NEUTRAL}


@styled
def draw(result, *, style, n_genes=10):
    """Draw the likelihood of each fitted gene against its rank, or the R² of its line, and name the `n_genes` best.

    The dashed line is the lowest score of a velocity gene.  Genes above it may be left out for other reasons.
    """
    column = score_of(result.var)
    scores = np.array([]) if column is None else result.var[column].dropna().sort_values(ascending=False, kind="stable")
    if not len(scores):
        said = "No gene is fitted." if column else "This method does not say how well genes are fitted."
        return words_instead(result, style, TITLE, said)
    name = SCORES[column]
    chosen = result.var.loc[scores.index, "velocity_genes"].to_numpy(dtype=bool)
    ranks = np.arange(1, len(scores) + 1)
    figure = new_figure(1.5 * style.panel_size, style.panel_size)
    axes = figure.subplots()
    for genes, colour in zip((chosen, ~chosen), COLOURS.values(), strict=True):
        axes.scatter(
            ranks[genes], scores[genes], s=7, color=colour, linewidths=0, rasterized=len(scores) > RASTERISE_ABOVE
        )
    for place, gene in enumerate(best_genes(result.var, n_genes)):
        axes.annotate(
            gene, (scores.index.get_loc(gene) + 1, scores[gene]), textcoords="axes fraction",
            xytext=(NAMES_AT[0], NAMES_AT[1] - place * NAME_PITCH), va="center", fontsize="small",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": NEUTRAL, "relpos": (0, 0.5)},
        )  # fmt: skip
    bottom = max(scores.min(), LOWEST)
    margin = 0.04 * (scores.max() - bottom) or 0.1
    axes.set(xlabel="rank of the gene", ylabel=name, xlim=(0, len(scores) + 1))
    axes.set_ylim(bottom - margin, scores.max() + margin)
    entries = [
        (Line2D([], [], linestyle="", marker="o", markersize=5, color=colour), f"{label} ({genes.sum():,})")
        for (label, colour), genes in zip(COLOURS.items(), (chosen, ~chosen), strict=True)
    ]
    if chosen.any():
        lowest = scores[chosen].iloc[-1]
        line = axes.axhline(lowest, color=INK, linewidth=1.0, linestyle="--", zorder=0)
        entries.append((line, f"lowest velocity gene: {lowest:.2g}"))
    add_legend(figure, entries)
    set_title(figure, result, TITLE)
    return figure
