"""Clusters as the nodes of a graph: which are connected, and which goes over into which."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from scipy import sparse

from veloshard.errors import InputError
from veloshard.figures.embedding import ARROWS, draw_clusters, embedding_panels, positions_of
from veloshard.figures.style import INK, add_legend, clusters_of, set_title, styled, words_instead

TITLE = "Transitions between clusters"

# weaker ones would join nearly all clusters
LEAST_CONNECTIVITY = 0.05

# points: diameters of the smallest node, which holds a number of two digits, and of the largest
NODES = (12.0, 22.0)
# points: of the weakest transition there could be and of the strongest that there is
EDGES = (0.8, 3.2)
DASHED = {"color": "#7A7A7A", "linewidth": 0.9, "linestyle": (0, (3, 2.5))}

# above the arrows of the cells, which this figure has not
NODE = ARROWS + 1


@styled
def draw(result, *, style):
    """Draw the graph of clusters that `uns['paga']` holds over the cells, a node at the median place of a cluster.

    The area of a node follows the number of its cells.  An arrow from one cluster to another is as wide as the
    confidence in that transition (`transitions_confidence`, of which entry [i, j] is from j to i, as in scVelo);
    dashed lines join clusters whose cells are connected but without a direction.  Raises InputError when a result
    with clusters has no such graph.
    """
    clusters = clusters_of(result, style)
    if not clusters.names:
        return words_instead(result, style, TITLE, "This dataset has no clusters between which to find transitions.")
    connected, confidence = _graph_of(result, clusters)
    positions = positions_of(result)
    placed = np.isfinite(positions).all(axis=1)
    members = [placed & (clusters.codes == code) for code in range(len(clusters.names))]
    # a cluster of which no cell has a place is nowhere, without a warning
    nodes = np.array([np.median(positions[cells], axis=0) if cells.any() else (np.nan, np.nan) for cells in members])
    diameters = _diameters(np.array([cells.sum() for cells in members]))

    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, positions, clusters, style=style, alpha=0.25)
    undirected = (connected > LEAST_CONNECTIVITY) & (confidence == 0) & (confidence.T == 0)
    for i, j in np.argwhere(np.triu(undirected, k=1)):
        axes.plot(*nodes[[i, j]].T, zorder=ARROWS, **DASHED)
    _draw_transitions(axes, nodes, diameters, confidence)
    _draw_nodes(axes, nodes, diameters, clusters)
    add_legend(figure, _entries(clusters, confidence, undirected.any()))
    set_title(figure, result, TITLE)
    return figure


def _draw_transitions(axes, nodes, diameters, confidence):
    """Draw an arrow for each transition, [i, j] from i to j, between nodes that have a place."""
    placed = np.isfinite(nodes).all(axis=1)
    for i, j in np.argwhere((confidence > 0) & np.outer(placed, placed)):
        width = np.interp(confidence[i, j], (0, confidence.max()), EDGES)
        axes.add_patch(
            FancyArrowPatch(
                nodes[i], nodes[j], arrowstyle="-|>", mutation_scale=6 + 3 * width, linewidth=width, color=INK,
                shrinkA=diameters[i] / 2, shrinkB=diameters[j] / 2 + 1, zorder=ARROWS, joinstyle="miter",
                # two opposite arrows must not hide each other
                connectionstyle="arc3,rad=0.15" if confidence[j, i] > 0 else "arc3",
            )
        )  # fmt: skip


def _graph_of(result, clusters):
    """Connectivities and confidence in transitions: two arrays (n_clusters, n_clusters), [i, j] from i to j."""
    if "paga" not in result.uns:
        raise InputError("the result has no uns['paga']: compute the graph of clusters first.")
    paga = result.uns["paga"]
    missing = [key for key in ("connectivities", "transitions_confidence") if key not in paga]
    if missing:
        raise InputError(f"uns['paga'] lacks {' and '.join(missing)}.")
    connected, transitions = (_dense(paga[key]) for key in ("connectivities", "transitions_confidence"))
    categories = result.obs[result.uns["velocity_params"]["clusters"]].astype("category").cat.categories
    present = np.isin([str(name) for name in categories], clusters.names)
    # of all categories, as scVelo stores it, or of those that have cells
    if len(connected) == present.sum():
        return connected, transitions.T
    if len(connected) != len(categories):
        raise InputError(f"uns['paga'] is of {len(connected)} clusters, but the cells have {len(categories)}.")
    return connected[np.ix_(present, present)], transitions.T[np.ix_(present, present)]


def _dense(matrix):
    return np.nan_to_num(matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix, dtype=np.float64))


def _diameters(n_cells):
    """Diameters in points of nodes whose areas follow the numbers of cells."""
    return np.clip(NODES[1] * np.sqrt(n_cells / max(1, n_cells.max())), *NODES)


def _draw_nodes(axes, nodes, diameters, clusters):
    """Draw numbered nodes in the colours of their clusters."""
    axes.scatter(*nodes.T, s=diameters**2, c=clusters.colours, edgecolors=INK, linewidths=0.8, zorder=NODE)
    for number, (place, colour) in enumerate(zip(nodes, clusters.colours, strict=True), start=1):
        if np.isfinite(place).all():
            # weights of the eye, ITU-R BT.601
            bright = colour[:3] @ (0.299, 0.587, 0.114) > 0.5
            axes.text(
                *place, str(number), ha="center", va="center_baseline", fontsize="small",
                color=INK if bright else "white", zorder=NODE + 1,
            )  # fmt: skip


def _entries(clusters, confidence, any_undirected):
    """Legend entries: the clusters by their numbers, the widest arrow, dashed lines."""
    entries = [
        (Line2D([], [], linestyle="", marker="o", markersize=6, color=to_hex(colour)), f"{number} {name}")
        for number, (name, colour) in enumerate(zip(clusters.names, clusters.colours, strict=True), start=1)
    ]
    if confidence.any():
        entries.append(
            (Line2D([], [], color=INK, linewidth=EDGES[1], solid_capstyle="butt"), f"confidence {confidence.max():.2g}")
        )
    if any_undirected:
        entries.append((Line2D([], [], **DASHED), "connected"))
    return entries
