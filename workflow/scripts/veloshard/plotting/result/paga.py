"""PAGA graph: clusters as nodes, their connections and the transitions between them."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from scipy import sparse

from veloshard.errors import InputError
from veloshard.output.cluster_colors import clusters_of
from veloshard.plotting._shared.embedding import ARROWS, draw_clusters, embedding_of, embedding_panels
from veloshard.plotting._shared.style import INK, add_legend, message_figure, set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "paga")

TITLE = "Transitions between clusters"

# lower bound of the connectivity for a dashed line; weaker connections would join nearly all clusters
MIN_CONNECTIVITY = 0.05

# smallest and largest diameter of a node in points; the smallest one has space for a number of two digits
NODE_DIAMETERS = (12.0, 22.0)

# width of an arrow in points, at confidence 0 and at the highest confidence
ARROW_WIDTHS = (0.8, 3.2)

DASHED = {"color": "#7A7A7A", "linewidth": 0.9, "linestyle": (0, (3, 2.5))}

# zorder of nodes: above the arrows
NODES = ARROWS + 1


@styled
def draw(result, *, style):
    """Draw the PAGA graph over the cells, with one node per cluster at the median of its cells.

    The area of a node is proportional to its number of cells. The width of an arrow from one cluster to another follows
    the confidence in that transition. Dashed lines connect clusters whose cells are neighbors, without a direction.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result. `uns["paga"]` holds `connectivities` and `transitions_confidence`, whose element [i, j] is
        the transition from j to i, as in scVelo.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If a result with clusters has no PAGA graph, or a graph of other clusters.
    """
    clusters = clusters_of(result, style.palette)
    if not clusters.names:
        return message_figure(result, style, TITLE, "This dataset has no clusters.")
    connectivities, confidence = _paga_matrices(result, clusters)
    embedding = embedding_of(result)
    is_embedded = np.isfinite(embedding).all(axis=1)
    members = [is_embedded & (clusters.codes == code) for code in range(len(clusters.names))]
    # NaN for a cluster without coordinates; np.median of no cells would warn
    nodes = np.array([np.median(embedding[cells], axis=0) if cells.any() else (np.nan, np.nan) for cells in members])
    diameters = _diameters(np.array([cells.sum() for cells in members]))

    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, embedding, clusters, style=style, alpha=0.25)
    undirected = (connectivities > MIN_CONNECTIVITY) & (confidence == 0) & (confidence.T == 0)
    for i, j in np.argwhere(np.triu(undirected, k=1)):
        axes.plot(*nodes[[i, j]].T, zorder=ARROWS, **DASHED)
    _draw_transitions(axes, nodes, diameters, confidence)
    _draw_nodes(axes, nodes, diameters, clusters)
    add_legend(figure, _legend_entries(clusters, confidence, undirected.any()))
    set_title(figure, result, TITLE)
    return figure


def _draw_transitions(axes, nodes, diameters, confidence):
    """Draw an arrow for each transition, [i, j] from i to j, between nodes that have coordinates."""
    has_coordinates = np.isfinite(nodes).all(axis=1)
    for i, j in np.argwhere((confidence > 0) & np.outer(has_coordinates, has_coordinates)):
        width = np.interp(confidence[i, j], (0, confidence.max()), ARROW_WIDTHS)
        axes.add_patch(
            FancyArrowPatch(
                nodes[i], nodes[j], arrowstyle="-|>", mutation_scale=6 + 3 * width, linewidth=width, color=INK,
                shrinkA=diameters[i] / 2, shrinkB=diameters[j] / 2 + 1, zorder=ARROWS, joinstyle="miter",
                # two opposite arrows are curved, so that both are visible
                connectionstyle="arc3,rad=0.15" if confidence[j, i] > 0 else "arc3",
            )
        )  # fmt: skip


def _paga_matrices(result, clusters):
    """Return connectivities and confidence in transitions, shape (n_clusters, n_clusters), [i, j] from i to j."""
    if "paga" not in result.uns:
        raise InputError("the result has no uns['paga']. Compute PAGA first.")
    paga = result.uns["paga"]
    missing = [key for key in ("connectivities", "transitions_confidence") if key not in paga]
    if missing:
        raise InputError(f"uns['paga'] lacks {' and '.join(missing)}.")
    connectivities, transitions = (_dense(paga[key]) for key in ("connectivities", "transitions_confidence"))
    categories = result.obs[result.uns["velocity_params"]["clusters"]].astype("category").cat.categories
    present = np.isin([str(name) for name in categories], clusters.names)
    # the matrices are of all categories, as in scVelo, or of the categories that have cells
    if len(connectivities) == present.sum():
        return connectivities, transitions.T
    if len(connectivities) != len(categories):
        raise InputError(f"uns['paga'] has {len(connectivities)} clusters, but the cells have {len(categories)}.")
    return connectivities[np.ix_(present, present)], transitions.T[np.ix_(present, present)]


def _dense(matrix):
    return np.nan_to_num(matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix, dtype=np.float64))


def _diameters(n_cells):
    """Return diameters in points of nodes with areas proportional to the numbers of cells."""
    return np.clip(NODE_DIAMETERS[1] * np.sqrt(n_cells / max(1, n_cells.max())), *NODE_DIAMETERS)


def _draw_nodes(axes, nodes, diameters, clusters):
    """Draw numbered nodes in the colors of their clusters."""
    axes.scatter(*nodes.T, s=diameters**2, c=clusters.colors, edgecolors=INK, linewidths=0.8, zorder=NODES)
    for number, (node, color) in enumerate(zip(nodes, clusters.colors, strict=True), start=1):
        if np.isfinite(node).all():
            # luma coefficients of ITU-R BT.601
            is_bright = color[:3] @ (0.299, 0.587, 0.114) > 0.5
            axes.text(
                *node, str(number), ha="center", va="center_baseline", fontsize="small",
                color=INK if is_bright else "white", zorder=NODES + 1,
            )  # fmt: skip


def _legend_entries(clusters, confidence, any_undirected):
    """Return legend entries: the clusters by number, the widest arrow, dashed lines."""
    entries = [
        (Line2D([], [], linestyle="", marker="o", markersize=6, color=to_hex(color)), f"{number} {name}")
        for number, (name, color) in enumerate(zip(clusters.names, clusters.colors, strict=True), start=1)
    ]
    if confidence.any():
        widest = Line2D([], [], color=INK, linewidth=ARROW_WIDTHS[1], solid_capstyle="butt")
        entries.append((widest, f"confidence {confidence.max():.2g}"))
    if any_undirected:
        entries.append((Line2D([], [], **DASHED), "connected"))
    return entries
