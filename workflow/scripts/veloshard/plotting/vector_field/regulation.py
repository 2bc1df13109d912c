"""Jacobian of a learned vector field between genes, by cluster."""

import textwrap

import numpy as np

from veloshard.output.cluster_colors import NEUTRAL, UNKNOWN
from veloshard.plotting._shared.style import message_figure, panel_grid, set_title, styled

TITLE = "Regulation: Jacobian of the vector field"

MAX_GROUPS = 12

# white at 0: values that are not known are gray
COLORMAP = "RdBu_r"

# colors end at this percentile of the absolute values, or at the largest if there are too few values for a percentile
LIMIT_PERCENTILE, MIN_VALUES_FOR_PERCENTILE = 99, 200

# inches: smallest and largest side of a panel with few genes; smallest and largest height of a row
SIDE_LIMITS, ROW_LIMITS = (1.6, 4.0), (0.13, 0.2)

# inches above a panel for its title, and next to all panels for the axis label and the colorbar
TITLE_HEIGHT, EXTRA_WIDTH = 0.35, 1.3

# font size of the gene names, as a share of the height of a row
GENE_FONT_SHARE = 0.5

TITLE_CHARACTERS = 26


@styled
def draw(result, values, *, style):
    """Draw the Jacobian between genes as one matrix (effectors x regulators) per group of cells, with common colors.

    At most 12 groups are drawn. NaN is gray.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray
        `groups`, (n_groups,), and `genes`, (n_genes,), names; `jacobian`, (n_groups, n_genes, n_genes), mean over the
        cells of the group, with element [group, effector, regulator].
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    groups, genes, jacobian = values["groups"], values["genes"], np.asarray(values["jacobian"], dtype=np.float64)
    limit = color_limit(jacobian)
    if not np.isfinite(limit):
        return message_figure(result, style, TITLE, "Nothing to draw: the Jacobian of these genes has no finite value.")
    drawn_groups = groups[:MAX_GROUPS]
    row_height = np.clip(SIDE_LIMITS[1] / len(genes), *ROW_LIMITS)
    side = max(SIDE_LIMITS[0], row_height * len(genes))
    # a letter is about 0.6 of the font size wide
    name_width = 0.15 + 0.6 * GENE_FONT_SHARE * row_height * max(len(gene) for gene in genes)
    figure, panels = panel_grid(len(drawn_groups), side + name_width, side + name_width + TITLE_HEIGHT)
    figure.set_figwidth(figure.get_figwidth() + EXTRA_WIDTH)
    for axes, group, matrix in zip(panels, drawn_groups, jacobian, strict=False):
        image = axes.imshow(matrix, vmin=-limit, vmax=limit, cmap=COLORMAP, interpolation="nearest")
        axes.set_facecolor(UNKNOWN)
        # a frame, so that white values at the edge are not taken for the background
        axes.spines[:].set(visible=True, color=NEUTRAL, linewidth=0.5)
        axes.tick_params(length=0, labelsize=GENE_FONT_SHARE * row_height * 72)
        axes.set_xticks(range(len(genes)), genes, rotation=90)
        axes.set_yticks(range(len(genes)), genes)
        axes.set_title(textwrap.fill(str(group), TITLE_CHARACTERS))
    figure.supxlabel("regulator", fontsize="medium")
    figure.supylabel("effector", fontsize="medium")
    colorbar = figure.colorbar(
        image,
        ax=list(panels),
        label="change of the effector's velocity\nwith the regulator",
        shrink=min(1.0, 2.0 / figure.get_figheight()),
        aspect=20,
        extend="both" if np.nanmax(np.abs(jacobian)) > limit else "neither",
    )
    colorbar.outline.set_visible(False)
    is_truncated = len(drawn_groups) < len(groups)
    set_title(figure, result, TITLE + (f" ({len(drawn_groups)} of {len(groups)} groups)" if is_truncated else ""))
    return figure


def color_limit(values):
    """Return the absolute value at which colors end.

    Parameters
    ----------
    values : ndarray of float
        Values to draw.

    Returns
    -------
    float
        The 99th percentile of the absolute values, or the largest of at most 200; NaN if no value is finite.
    """
    magnitudes = np.abs(values[np.isfinite(values)])
    if not len(magnitudes):
        return np.nan
    many = len(magnitudes) > MIN_VALUES_FOR_PERCENTILE
    limit = np.percentile(magnitudes, LIMIT_PERCENTILE) if many else magnitudes.max()
    # if all values are 0, any limit gives the color of 0
    return limit if limit > 0 else 1.0
