"""Phase portraits of genes with differential kinetics: clusters whose rates differ from the common fit."""

import numpy as np

from veloshard.output.cluster_colors import UNKNOWN, clusters_of
from veloshard.plotting._shared.phase_portrait import OUTLINE, draw_phase_portrait, layer_column, line_entries
from veloshard.plotting._shared.style import add_legend, cluster_entries, message_figure, panel_grid, set_title, styled

# analyses that the figure shows
INPUTS = ("fit", "differential_kinetics")

TITLE = "Differential kinetics"

# columns of var: names of the clusters, joined by commas, and p-value of the gene
CLUSTERS_COLUMN, P_VALUE_COLUMN = "fit_diff_kinetics", "fit_pval_kinetics"


@styled
def draw(result, *, style, n_genes=8):
    """Draw phase portraits of the genes with the most significant differential kinetics.

    Cells of clusters with differential kinetics have the color of the cluster, all other cells are gray. Each of these
    clusters has a line in its color: the orthogonal regression through the origin of its cells. A message replaces the
    figure if the result has no test or no gene has such a cluster.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.
    n_genes : int
        Largest number of genes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per gene.
    """
    if not {CLUSTERS_COLUMN, P_VALUE_COLUMN} <= set(result.var.columns):
        return message_figure(
            result,
            style,
            TITLE,
            "Differential kinetics were not tested: the test needs clusters and a method that fits curves.",
        )
    clusters = clusters_of(result, style.palette)
    flagged = {gene: flagged_clusters(names, clusters) for gene, names in result.var[CLUSTERS_COLUMN].items()}
    p_values = result.var[P_VALUE_COLUMN].astype(float).sort_values(kind="stable").dropna()
    genes = [gene for gene in p_values.index if len(flagged[gene])][:n_genes]
    if not genes:
        return message_figure(result, style, TITLE, "No gene has a cluster with significant differential kinetics.")
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(genes), side, side)
    for axes, gene in zip(panels, genes, strict=True):
        is_flagged = np.isin(clusters.codes, flagged[gene])
        highlighted = clusters._replace(codes=np.where(is_flagged, clusters.codes, -1), unknown=UNKNOWN)
        draw_phase_portrait(axes, result, gene, highlighted, style=style._replace(panel_size=side))
        unspliced, spliced = layer_column(result, "Mu", gene), layer_column(result, "Ms", gene)
        scaling = result.var.loc[gene, "fit_scaling"]
        for code in flagged[gene]:
            cells = clusters.codes == code
            slope = scaling * orthogonal_slope(spliced[cells], unspliced[cells] / scaling)
            if np.isfinite(slope):
                axes.axline((0, 0), slope=slope, color=clusters.colors[code], linewidth=1.6, **OUTLINE)
        axes.set_title(f"{gene}\n{_format_p_value(p_values[gene])}")
    in_legend = np.unique(np.concatenate([flagged[gene] for gene in genes]))
    entries = cluster_entries(clusters)
    add_legend(figure, [entries[code] for code in in_legend] + line_entries(panels))
    set_title(figure, result, TITLE)
    return figure


def flagged_clusters(joined_names, clusters):
    """Return the indices of the clusters that are named in a comma-separated text.

    Parameters
    ----------
    joined_names : str or float
        Names of clusters, which may contain commas themselves; NaN for none.
    clusters : Clusters
        All clusters.

    Returns
    -------
    ndarray of int, shape (n_flagged,)
        Indices into `clusters.names`, in increasing order.
    """
    text = f",{joined_names}," if isinstance(joined_names, str) else ""
    flagged = []
    # longer names first, because a shorter name may be a part of a longer one
    for code in sorted(range(len(clusters.names)), key=lambda code: -len(clusters.names[code])):
        name = f",{clusters.names[code]},"
        if name in text:
            flagged.append(code)
            text = text.replace(name, ",")
    return np.array(sorted(flagged), dtype=int)


def orthogonal_slope(spliced, unspliced):
    """Return the slope of the orthogonal regression line u = b s through the origin.

    b = (B + sqrt(B^2 + 4 A^2)) / (2 A) with A = sum s u and B = sum (u^2 - s^2), over cells in which both are positive,
    as in scVelo's test of differential kinetics.

    Parameters
    ----------
    spliced, unspliced : ndarray of float, shape (n_cells,)
        Abundances of a gene.

    Returns
    -------
    float
        Slope; NaN if no cell has both.
    """
    both = (spliced > 0) & (unspliced > 0)
    s, u = spliced[both], unspliced[both]
    a, b = np.sum(s * u), np.sum(u**2 - s**2)
    return (b + np.hypot(b, 2 * a)) / (2 * a) if a > 0 else np.nan


def _format_p_value(p_value):
    return f"p = {p_value:.1g}" if p_value > 0 else "p < 1e-300"
