"""How the rates of genes change with the expression of others, by the Jacobian of a learned field."""

import textwrap

import numpy as np

from veloshard.figures.style import NEUTRAL, UNKNOWN, panel_grid, set_title, styled, words_instead

TITLE = "Regulation by the learned field"

MOST_GROUPS = 12
# white at 0: grey is for what is not known
COLOURS = "RdBu_r"
# colours end at this percentile of the absolute values; of fewer values than that leaves any beyond, at the largest
LIMIT, FEW_VALUES = 99, 200
# inches: least and, unless there are many genes, largest side of a panel; least and largest height of a gene
SIDES, PITCHES = (1.6, 4.0), (0.13, 0.2)
# inches above a panel, for its title, and beside all panels, for what rows are and for the colours
TITLE_ROOM, BESIDE = 0.35, 1.3
# font size of genes, as a share of their height
GENE_LABELS = 0.5
TITLE_CHARACTERS = 26


@styled
def draw(result, found, *, style):
    """Draw a matrix of effectors x regulators for each group of cells, at most 12; all have the same colours.

    found : `groups`, (n_groups,), names; `genes`, (n_genes,); `values`, (n_groups, n_genes, n_genes), mean over the
        cells of d rate / d expression, [group, effector, regulator].  NaN is grey.
    """
    groups, genes, values = found["groups"], found["genes"], np.asarray(found["values"], dtype=np.float64)
    limit = colour_limit(values)
    if not np.isfinite(limit):
        return words_instead(result, style, TITLE, "There is nothing to show: no gene has a part in the field.")
    shown = groups[:MOST_GROUPS]
    pitch = np.clip(SIDES[1] / len(genes), *PITCHES)
    side = max(SIDES[0], pitch * len(genes))
    # a letter is about 0.6 of the font size wide
    names = 0.15 + 0.6 * GENE_LABELS * pitch * max(len(gene) for gene in genes)
    figure, panels = panel_grid(len(shown), side + names, side + names + TITLE_ROOM)
    figure.set_figwidth(figure.get_figwidth() + BESIDE)
    for axes, group, matrix in zip(panels, shown, values, strict=False):
        image = axes.imshow(matrix, vmin=-limit, vmax=limit, cmap=COLOURS, interpolation="nearest")
        axes.set_facecolor(UNKNOWN)
        # white at the rim is a value, too
        axes.spines[:].set(visible=True, color=NEUTRAL, linewidth=0.5)
        axes.tick_params(length=0, labelsize=GENE_LABELS * pitch * 72)
        axes.set_xticks(range(len(genes)), genes, rotation=90)
        axes.set_yticks(range(len(genes)), genes)
        axes.set_title(textwrap.fill(str(group), TITLE_CHARACTERS))
    figure.supxlabel("regulator", fontsize="medium")
    figure.supylabel("effector", fontsize="medium")
    bar = figure.colorbar(
        image,
        ax=list(panels),
        label="change of the effector's rate\nwith the regulator",
        shrink=min(1.0, 2.0 / figure.get_figheight()),
        aspect=20,
        extend="both" if np.nanmax(np.abs(values)) > limit else "neither",
    )
    bar.outline.set_visible(False)
    left_out = len(groups) - len(shown)
    set_title(figure, result, TITLE + (f" ({len(shown)} of {len(groups)} groups)" if left_out else ""))
    return figure


def colour_limit(values):
    """Where colours end on both sides of 0; NaN where no value is known."""
    known = np.abs(values[np.isfinite(values)])
    if not len(known):
        return np.nan
    limit = np.percentile(known, LIMIT) if len(known) > FEW_VALUES else known.max()
    # all the same has no scale, but still a colour
    return limit if limit > 0 else 1.0
