"""The embedding with its cells: the ground on which most figures stand."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba

from veloshard.errors import InputError, choices
from veloshard.figures.style import UNKNOWN, add_legend, cluster_entries, clusters_of, panel_grid

# above this many cells a vector file of them is slow to open, so that points become an image
RASTERISE_ABOVE = 5_000

# two cells in the same place: which one is seen must not follow the order of samples in the file
SHUFFLE_SEED = 0

# inches
COLOURBAR_WIDTH = 0.75

# layers from bottom to top
BELOW, CELLS, ARROWS = 1, 2, 3


def basis_of(result):
    """Name of the embedding of `result`, such as 'umap'; InputError where none is named."""
    basis = result.uns.get("velocity_params", {}).get("embedding")
    if basis is None:
        raise InputError("the result names no embedding in uns['velocity_params']['embedding'].")
    return basis


def positions_of(result):
    """(n_cells, 2) float64 first two dimensions of the embedding; InputError where it is missing."""
    return _two_dimensions(result, f"X_{basis_of(result)}", "the embedding")


def velocities_of(result):
    """(n_cells, 2) float64 velocities in the embedding; InputError where they are missing."""
    return _two_dimensions(result, f"velocity_{basis_of(result)}", "the projected velocities")


def _two_dimensions(result, key, what):
    if key not in result.obsm:
        raise InputError(f"{what} obsm[{key!r}] is missing ({choices(result.obsm.keys(), key)}).")
    # float32 coordinates make matplotlib refuse its own grid (theislab/scvelo#1339)
    return np.asarray(result.obsm[key][:, :2], dtype=np.float64)


def embedding_panels(result, style, n_panels=1, beside=0.0):
    """Return a figure and its `n_panels` axes, shaped and limited as the embedding of `result`, in rows.

    `beside` : inches to keep free at the side of each panel.  Cells without a position do not count.
    """
    width, height = panel_shape(result, style)
    figure, panels = panel_grid(n_panels, width + beside, height)
    basis = basis_of(result).upper()
    for axes in panels:
        frame(axes, result)
        axes.set_xlabel(f"{basis} 1", loc="left", fontsize="small")
        axes.set_ylabel(f"{basis} 2", loc="bottom", fontsize="small")
    return figure, panels


def panel_shape(result, style):
    """Width and height in inches of a panel shaped as the embedding of `result`."""
    width, height = _limits(result)[1]
    # a very elongated embedding keeps some air rather than become a ribbon
    stretch = np.sqrt(np.clip(width / height, 0.5, 2.0))
    return style.panel_size * stretch, style.panel_size / stretch


def frame(axes, result):
    """Limit `axes` to the embedding of `result`, without ticks and spines."""
    low, span = _limits(result)
    axes.set_aspect("equal")
    axes.set_xlim(low[0] - 0.04 * span[0], low[0] + 1.04 * span[0])
    axes.set_ylim(low[1] - 0.04 * span[1], low[1] + 1.04 * span[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _limits(result):
    """Lowest coordinates of the embedding and its width and height, (2,) each; 1 where all are the same."""
    positions = positions_of(result)
    low, high = np.nanmin(positions, axis=0), np.nanmax(positions, axis=0)
    return low, np.where(high > low, high - low, 1.0)


def draw_cells(axes, positions, colours, known, *, style, alpha=1.0):
    """Draw cells as points, those that are not `known` underneath the others.

    positions : (n_cells, 2).  colours : (n_cells, 4) RGBA.  known : (n_cells,) bool.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(positions))
    # the area of all points together is about half of the panel's
    size = np.clip(0.45 * (72 * style.panel_size) ** 2 / len(positions), 0.4, 40.0)
    for chosen, zorder in ((order[~known[order]], BELOW), (order[known[order]], CELLS)):
        if len(chosen) == 0:
            continue
        axes.scatter(
            *positions[chosen].T,
            s=size,
            c=colours[chosen],
            alpha=alpha,
            linewidths=0,
            zorder=zorder,
            rasterized=len(positions) > RASTERISE_ABOVE,
        )


def draw_clusters(axes, positions, clusters, *, style, alpha=1.0):
    """Draw cells in the colours of their `clusters`; cells without a cluster lie underneath."""
    draw_cells(axes, positions, clusters.of_cells, clusters.codes >= 0, style=style, alpha=alpha)


def cluster_map(result, style, alpha=1.0):
    """Return a figure and its axes with the cells in the colours of their clusters, and a legend."""
    clusters = clusters_of(result, style)
    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, positions_of(result), clusters, style=style, alpha=alpha)
    add_legend(figure, cluster_entries(clusters))
    return figure, axes


def draw_arrows(axes, tails, vectors, *, typical_length, color):
    """Draw arrows on top of the cells, scaled so that the 95th percentile of lengths is `typical_length`.

    tails, vectors : (n_arrows, 2).  typical_length : in the unit of the embedding.  Nothing is drawn where
    all vectors are zero.
    """
    lengths = np.hypot(*vectors.T)
    if not lengths.any():
        return
    # not the longest: one outlier would shrink all others to dots
    scale = typical_length / np.percentile(lengths[lengths > 0], 95)
    # an arrow far beyond the typical length hides its neighbours and tells nothing of where the cell goes
    axes.quiver(
        *tails.T,
        *(vectors * scale).T,
        color=color,
        angles="xy",
        scale_units="xy",
        scale=1,
        units="inches",
        width=0.012,
        headwidth=4.5,
        headlength=5,
        headaxislength=4.5,
        zorder=ARROWS,
    )


def columns_map(result, style, columns, *, computed_by, **colours):
    """Return a figure with a panel for each column of `obs`, its cells coloured by the column.

    columns : labels by their names in `obs`.   colours : options of `draw_values`.   Raises InputError where one is
    missing, which `computed_by` says how to have.
    """
    missing = [column for column in columns if column not in result.obs]
    if missing:
        raise InputError(f"obs lacks {' and '.join(missing)}: compute {computed_by} first.")
    figure, panels = embedding_panels(result, style, n_panels=len(columns), beside=COLOURBAR_WIDTH)
    for axes, (column, label) in zip(panels, columns.items(), strict=True):
        values = np.asarray(result.obs[column])
        draw_values(axes, positions_of(result), values, style=style, label=label, **colours)
    return figure


def draw_values(
    axes,
    positions,
    values,
    *,
    style,
    label,
    cmap="viridis",
    percentiles=(0, 100),
    limits=None,
    symmetric=False,
    shrink=0.6,
):
    """Draw cells coloured by `values`, with a colourbar; cells with NaN are grey and lie underneath.

    values : (n_cells,).  limits : where the colours begin and end, by default at the `percentiles` of the values.
    symmetric : the colours reach equally far to both sides of 0, to the upper percentile of the absolute values.
    shrink : height of the colourbar as a share of the panel's.  Without any finite value all cells are grey and there
    is no colourbar.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    colours = np.tile(to_rgba(UNKNOWN), (len(values), 1))
    if known.any():
        if limits is not None:
            low, high = limits
        elif symmetric:
            low, high = np.percentile(np.abs(values[known]), percentiles[1]) * np.array([-1, 1])
        else:
            low, high = np.percentile(values[known], percentiles)
        # a single value has no scale, but still a colour
        scale = ScalarMappable(Normalize(low, high if high > low else low + 1.0), cmap)
        colours[known] = scale.to_rgba(values[known])
        ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
        beyond = (values[known].min() < scale.norm.vmin, values[known].max() > scale.norm.vmax)
        axes.figure.colorbar(
            scale, ax=axes, label=label, extend=ends.get(beyond, "neither"), shrink=shrink, aspect=25
        ).outline.set_visible(False)
    draw_cells(axes, positions, colours, known, style=style)
