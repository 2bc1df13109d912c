"""How far each pair of methods agrees, and each method with the truth: a matrix of pairs for each measure."""

import numpy as np

from veloshard.figures.style import INK, UNKNOWN, panel_grid, set_title, styled, words_instead

TITLE = "Agreement of the methods"

# columns of the pairs, their names, and the values of opposite methods, of methods by chance and of the same one
MEASURES = {
    "cosine": ("cosine of velocities", -1),
    "rank_of_genes": ("order of genes in a cell", -1),
    "rank_of_cells": ("order of cells in a gene", -1),
    "sign": ("sign of velocities", 0),
    "velocity_pseudotime": ("velocity pseudotime", -1),
    "latent_time": ("latent time", -1),
    "model_time": ("the models' own times", -1),
    "end_cells": ("end cells", -1),
}
COLOURS = "RdBu"
# inches a method takes in a panel, and its numbers as a share of the font size; numbers of more methods are not written
PITCH, NUMBERS, MOST_NUMBERED = 0.42, 0.8, 12
# inches beside and below a panel, for names of methods
NAMES = 0.6


@styled
def draw(compared, *, style):
    """Draw a matrix of methods x methods for each measure that at least one pair has; other pairs are grey."""
    pairs = compared.pairs
    names = list(dict.fromkeys([*pairs["method"], *pairs["other"]]))
    measures = [measure for measure in MEASURES if np.isfinite(pairs[measure]).any()]
    if not measures:
        return words_instead(compared, style, TITLE, "There is nothing to show: no two methods can be compared.")
    side = PITCH * max(len(names), 4)
    figure, panels = panel_grid(len(measures), side + NAMES, side + 2 * NAMES)
    for axes, measure in zip(panels, measures, strict=True):
        label, opposite = MEASURES[measure]
        values = matrix_of(pairs, measure, names)
        image = axes.imshow(values, vmin=opposite, vmax=1, cmap=COLOURS, interpolation="nearest")
        axes.set_facecolor(UNKNOWN)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names if axes.get_subplotspec().is_first_col() else [""] * len(names))
        axes.set_title(label)
        if len(names) <= MOST_NUMBERED:
            _write_numbers(axes, values, opposite, NUMBERS * style.font_size)
    bar = figure.colorbar(image, ax=list(panels), shrink=min(1.0, 2.0 / figure.get_figheight()), aspect=20)
    bar.outline.set_visible(False)
    bar.set_ticks([image.norm.vmin, (image.norm.vmin + 1) / 2, 1], labels=["opposite", "by chance", "the same"])
    set_title(figure, compared, TITLE)
    return figure


def matrix_of(pairs, measure, names):
    """Values of a measure by pairs of names, symmetric float64 (n_names, n_names); NaN for none and on the diagonal."""
    place = {name: number for number, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    rows, columns = pairs["method"].map(place), pairs["other"].map(place)
    values[rows, columns] = values[columns, rows] = pairs[measure]
    return values


def _write_numbers(axes, values, opposite, font_size):
    """Write each value into its square, with two digits."""
    middle = (opposite + 1) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = abs(value - middle) > 0.6 * (1 - middle)
            text = f"{value:.2f}".replace("0.", ".", 1)
            axes.text(column, row, text, ha="center", va="center", fontsize=font_size, color="white" if dark else INK)
