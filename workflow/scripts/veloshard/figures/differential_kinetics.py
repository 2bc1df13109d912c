"""Genes that clusters transcribe, splice or degrade at rates of their own."""

import numpy as np

from veloshard.figures.phase import OUTLINE, column_of, draw_portrait, line_entries
from veloshard.figures.style import (
    UNKNOWN,
    add_legend,
    cluster_entries,
    clusters_of,
    panel_grid,
    set_title,
    styled,
    words_instead,
)

TITLE = "Differential kinetics"
COLUMNS = ("fit_diff_kinetics", "fit_pval_kinetics")


@styled
def draw(result, *, style, n_genes=8):
    """Draw phase portraits of the `n_genes` genes of which some cluster differs most surely from the common curve.

    Cells of these clusters have their colours and all others are grey.  Beside the common fit each such cluster
    has its own line in its colour: the orthogonal regression through the origin of its cells.  A result without
    the test, or of which no gene has such a cluster, gives a figure that says so.
    """
    if not set(COLUMNS) <= set(result.var.columns):
        return words_instead(
            result, style, TITLE, "No test for differential kinetics: it needs clusters and a method that fits curves."
        )
    clusters = clusters_of(result, style)
    flagged = {gene: flagged_clusters(names, clusters) for gene, names in result.var[COLUMNS[0]].items()}
    p_values = result.var[COLUMNS[1]].astype(float).sort_values(kind="stable").dropna()
    genes = [gene for gene in p_values.index if len(flagged[gene])][:n_genes]
    if not genes:
        return words_instead(result, style, TITLE, "No gene has a cluster whose kinetics differ significantly.")
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(genes), side, side)
    for axes, gene in zip(panels, genes, strict=True):
        theirs = np.isin(clusters.codes, flagged[gene])
        highlighted = clusters._replace(codes=np.where(theirs, clusters.codes, -1), unknown=UNKNOWN)
        draw_portrait(axes, result, gene, highlighted, style=style._replace(panel_size=side))
        unspliced, spliced = column_of(result, "Mu", gene), column_of(result, "Ms", gene)
        scaling = result.var.loc[gene, "fit_scaling"]
        for code in flagged[gene]:
            cells = clusters.codes == code
            slope = scaling * orthogonal_slope(spliced[cells], unspliced[cells] / scaling)
            if np.isfinite(slope):
                axes.axline((0, 0), slope=slope, color=clusters.colours[code], linewidth=1.6, **OUTLINE)
        axes.set_title(f"{gene}\n{_written(p_values[gene])}")
    shown = np.unique(np.concatenate([flagged[gene] for gene in genes]))
    entries = cluster_entries(clusters)
    add_legend(figure, [entries[code] for code in shown] + line_entries(panels))
    set_title(figure, result, TITLE)
    return figure


def flagged_clusters(joined, clusters):
    """Indices of the clusters whose names are in a comma-joined text, (n_flagged,) int; none for NaN.

    Names may hold commas themselves.
    """
    text = f",{joined}," if isinstance(joined, str) else ""
    flagged = []
    # longer names first, of which shorter ones may be a part
    for code in sorted(range(len(clusters.names)), key=lambda code: -len(clusters.names[code])):
        name = f",{clusters.names[code]},"
        if name in text:
            flagged.append(code)
            text = text.replace(name, ",")
    return np.array(sorted(flagged), dtype=int)


def orthogonal_slope(spliced, unspliced):
    """Slope of the line u = b s through the origin that is nearest to the cells, at right angles to itself.

    b = (B + sqrt(B^2 + 4 A^2)) / (2 A) with A = sum s u, B = sum (u^2 - s^2), over cells with both (as scVelo's
    test takes it).  NaN where no cell has both.
    """
    both = (spliced > 0) & (unspliced > 0)
    s, u = spliced[both], unspliced[both]
    a, b = np.sum(s * u), np.sum(u**2 - s**2)
    return (b + np.hypot(b, 2 * a)) / (2 * a) if a > 0 else np.nan


def _written(p_value):
    return f"p = {p_value:.1g}" if p_value > 0 else "p < 1e-300"
