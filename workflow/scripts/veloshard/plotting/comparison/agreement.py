"""Agreement of each pair of methods, and of each method with the truth: one matrix per measure."""

import numpy as np

from veloshard.output.cluster_colors import UNKNOWN
from veloshard.plotting._shared.style import INK, message_figure, panel_grid, set_title, styled

TITLE = "Agreement of the methods"

# columns of the pairs: their labels, and the value of opposite methods (-1) or (0); identical methods have 1
MEASURES = {
    "cosine": ("cosine of velocities", -1),
    "rank_of_genes": ("rank correlation over genes", -1),
    "rank_of_cells": ("rank correlation over cells", -1),
    "sign": ("sign of velocities", 0),
    "velocity_pseudotime": ("velocity pseudotime", -1),
    "latent_time": ("latent time", -1),
    "model_time": ("time of the model", -1),
    "end_cells": ("end points", -1),
}

COLORS = "RdBu"

# inches per method
METHOD_PITCH = 0.42

# font size of the numbers relative to that of other labels
NUMBER_SIZE = 0.8

# largest number of methods for which numbers are written
MAX_NUMBERED = 12

# inches beside and below a panel for the names of the methods
NAME_MARGIN = 0.6


@styled
def draw(comparison, *, style):
    """Draw a matrix of methods by methods for each measure that at least one pair has.

    Pairs without a value are gray.

    Parameters
    ----------
    comparison : Comparison
        Comparison of the methods of a dataset.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per measure.
    """
    pairs = comparison.pairs
    names = list(dict.fromkeys([*pairs["method"], *pairs["other"]]))
    measures = [measure for measure in MEASURES if np.isfinite(pairs[measure]).any()]
    if not measures:
        return message_figure(comparison, style, TITLE, "No two methods can be compared.")
    side = METHOD_PITCH * max(len(names), 4)
    figure, panels = panel_grid(len(measures), side + NAME_MARGIN, side + 2 * NAME_MARGIN)
    for axes, measure in zip(panels, measures, strict=True):
        label, opposite = MEASURES[measure]
        values = matrix_of(pairs, measure, names)
        image = axes.imshow(values, vmin=opposite, vmax=1, cmap=COLORS, interpolation="nearest")
        axes.set_facecolor(UNKNOWN)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names if axes.get_subplotspec().is_first_col() else [""] * len(names))
        axes.set_title(label)
        if len(names) <= MAX_NUMBERED:
            _write_numbers(axes, values, opposite, NUMBER_SIZE * style.font_size)
    colorbar = figure.colorbar(image, ax=list(panels), shrink=min(1.0, 2.0 / figure.get_figheight()), aspect=20)
    colorbar.outline.set_visible(False)
    low = image.norm.vmin
    colorbar.set_ticks([low, (low + 1) / 2, 1], labels=["opposite", "by chance", "identical"])
    set_title(figure, comparison, TITLE)
    return figure


def matrix_of(pairs, measure, names):
    """Return the values of a measure as a symmetric matrix of methods by methods.

    Parameters
    ----------
    pairs : DataFrame
        One row per pair of methods, with the columns `method`, `other` and the measure.
    measure : str
        Column of `pairs`.
    names : sequence of str
        Methods in the order of rows and columns.

    Returns
    -------
    ndarray of float64, shape (n_names, n_names)
        Values; NaN for pairs without a value and on the diagonal.
    """
    index = {name: number for number, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    rows, columns = pairs["method"].map(index), pairs["other"].map(index)
    values[rows, columns] = values[columns, rows] = pairs[measure]
    return values


def _write_numbers(axes, values, opposite, font_size):
    """Write each value into its square, with two digits."""
    middle = (opposite + 1) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            is_dark = abs(value - middle) > 0.6 * (1 - middle)
            text = f"{value:.2f}".replace("0.", ".", 1)
            color = "white" if is_dark else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=font_size, color=color)
