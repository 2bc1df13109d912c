"""Goodness of fit of the genes, in decreasing order."""

import numpy as np
from matplotlib.lines import Line2D

from veloshard.output.cluster_colors import NEUTRAL, OKABE_ITO
from veloshard.plotting._shared.embedding import RASTERIZE_ABOVE
from veloshard.plotting._shared.phase_portrait import SCORES, best_genes, score_column
from veloshard.plotting._shared.style import INK, add_legend, message_figure, new_figure, set_title, styled

# analyses that the figure shows
INPUTS = ("fit",)

TITLE = "Goodness of fit"

# the axis ends here: below, R² says no more than that the line fits worse than a constant
LOWEST_SCORE = -0.5

# position of the first gene name and distance between names, as fractions of the panel
FIRST_NAME, NAME_PITCH = (0.24, 0.97), 0.05

COLORS = {"velocity gene": OKABE_ITO[0], "other gene": NEUTRAL}


@styled
def draw(result, *, style, n_genes=10):
    """Draw the likelihood of each fitted gene, or the R² of its line, against its rank.

    The best velocity genes are named. The dashed line is the lowest score of a velocity gene. Other genes can be above
    it, because genes are also left out for other reasons.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    n_genes : int
        Number of genes to name.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    column = score_column(result.var)
    scores = np.array([]) if column is None else result.var[column].dropna().sort_values(ascending=False, kind="stable")
    if not len(scores):
        reason = "No gene is fitted." if column else "This method does not report a goodness of fit."
        return message_figure(result, style, TITLE, reason)
    is_velocity_gene = result.var.loc[scores.index, "velocity_genes"].to_numpy(dtype=bool)
    ranks = np.arange(1, len(scores) + 1)
    figure = new_figure(1.5 * style.panel_size, style.panel_size)
    axes = figure.subplots()
    for genes, color in zip((is_velocity_gene, ~is_velocity_gene), COLORS.values(), strict=True):
        axes.scatter(
            ranks[genes], scores[genes], s=7, color=color, linewidths=0, rasterized=len(scores) > RASTERIZE_ABOVE
        )
    for number, gene in enumerate(best_genes(result.var, n_genes)):
        axes.annotate(
            gene, (scores.index.get_loc(gene) + 1, scores[gene]), textcoords="axes fraction",
            xytext=(FIRST_NAME[0], FIRST_NAME[1] - number * NAME_PITCH), va="center", fontsize="small",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": NEUTRAL, "relpos": (0, 0.5)},
        )  # fmt: skip
    bottom = max(scores.min(), LOWEST_SCORE)
    margin = 0.04 * (scores.max() - bottom) or 0.1
    axes.set(xlabel="rank of the gene", ylabel=SCORES[column], xlim=(0, len(scores) + 1))
    axes.set_ylim(bottom - margin, scores.max() + margin)
    entries = [
        (Line2D([], [], linestyle="", marker="o", markersize=5, color=color), f"{label} ({genes.sum():,})")
        for (label, color), genes in zip(COLORS.items(), (is_velocity_gene, ~is_velocity_gene), strict=True)
    ]
    if is_velocity_gene.any():
        lowest = scores[is_velocity_gene].iloc[-1]
        line = axes.axhline(lowest, color=INK, linewidth=1.0, linestyle="--", zorder=0)
        entries.append((line, f"lowest velocity gene: {lowest:.2g}"))
    add_legend(figure, entries)
    set_title(figure, result, TITLE)
    return figure
