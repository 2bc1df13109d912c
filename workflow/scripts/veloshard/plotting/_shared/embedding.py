"""Panels of the embedding with its cells, which most figures draw on."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba

from veloshard.errors import InputError, choices
from veloshard.output.cluster_colors import UNKNOWN, clusters_of
from veloshard.plotting._shared.style import add_legend, cluster_entries, panel_grid

# number of cells above which points are rasterized: a vector file with more of them is slow to open
RASTERIZE_ABOVE = 5_000

# cells are drawn in random order, so that which of two overlapping cells is visible does not depend on their order in
# the file
SHUFFLE_SEED = 0

# inches
COLORBAR_WIDTH = 0.75

# zorder of layers from bottom to top
BELOW, CELLS, ARROWS = 1, 2, 3


def basis_of(result):
    """Return the name of the embedding of a result, such as 'umap'.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        `uns["velocity_params"]["embedding"]` holds the name.

    Returns
    -------
    str
        Name without the prefix `X_`.

    Raises
    ------
    InputError
        If the result names no embedding.
    """
    basis = result.uns.get("velocity_params", {}).get("embedding")
    if basis is None:
        raise InputError("the result names no embedding in uns['velocity_params']['embedding'].")
    return basis


def embedding_of(result):
    """Return the first two dimensions of the embedding of a result.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        `obsm["X_<basis>"]` holds the embedding.

    Returns
    -------
    ndarray of float64, shape (n_cells, 2)
        Coordinates of the cells.

    Raises
    ------
    InputError
        If the embedding is missing.
    """
    return _two_dimensions(result, f"X_{basis_of(result)}", "the embedding")


def velocity_embedding_of(result):
    """Return the first two dimensions of the velocity embedding of a result.

    Parameters
    ----------
    result : AnnData or Result
        `obsm["velocity_<basis>"]` holds the velocity embedding.

    Returns
    -------
    ndarray of float64, shape (n_cells, 2)
        Velocities of the cells on the embedding.

    Raises
    ------
    InputError
        If the velocity embedding is missing.
    """
    return _two_dimensions(result, f"velocity_{basis_of(result)}", "the velocity embedding")


def _two_dimensions(result, key, name):
    if key not in result.obsm:
        raise InputError(f"{name} obsm[{key!r}] is missing ({choices(result.obsm.keys(), key)}).")
    # with float32 coordinates matplotlib rejects its own grid (theislab/scvelo#1339)
    return np.asarray(result.obsm[key][:, :2], dtype=np.float64)


def embedding_panels(result, style, n_panels=1, extra_width=0.0):
    """Return a figure with panels that have the shape and the limits of the embedding.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        Holds the embedding. Cells without coordinates are ignored.
    style : Style
        Style of the figure.
    n_panels : int
        Number of panels.
    extra_width : float
        Free space in inches at the right of each panel, such as for a colorbar.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    panels : ndarray of matplotlib.axes.Axes, shape (n_panels,)
        Its panels.
    """
    width, height = panel_shape(result, style)
    figure, panels = panel_grid(n_panels, width + extra_width, height)
    basis = basis_of(result).upper()
    for axes in panels:
        set_embedding_limits(axes, result)
        axes.set_xlabel(f"{basis} 1", loc="left", fontsize="small")
        axes.set_ylabel(f"{basis} 2", loc="bottom", fontsize="small")
    return figure, panels


def panel_shape(result, style):
    """Return width and height in inches of a panel with the aspect ratio of the embedding, between 1/2 and 2."""
    width, height = _limits(result)[1]
    # the aspect ratio of the panel is limited: a very elongated embedding would be a narrow strip
    stretch = np.sqrt(np.clip(width / height, 0.5, 2.0))
    return style.panel_size * stretch, style.panel_size / stretch


def set_embedding_limits(axes, result):
    """Set the limits of `axes` to the embedding of `result` and remove its ticks and spines."""
    low, span = _limits(result)
    axes.set_aspect("equal")
    axes.set_xlim(low[0] - 0.04 * span[0], low[0] + 1.04 * span[0])
    axes.set_ylim(low[1] - 0.04 * span[1], low[1] + 1.04 * span[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _limits(result):
    """Return lowest coordinates and extent of the embedding, shape (2,) each; an extent of 0 is replaced by 1."""
    coordinates = embedding_of(result)
    low, high = np.nanmin(coordinates, axis=0), np.nanmax(coordinates, axis=0)
    return low, np.where(high > low, high - low, 1.0)


def draw_cells(axes, coordinates, colors, has_value, *, style, alpha=1.0):
    """Draw cells as points, those without a value below the others.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    coordinates : ndarray of float, shape (n_cells, 2)
        Coordinates of the cells.
    colors : ndarray of float, shape (n_cells, 4)
        RGBA colors of the cells.
    has_value : ndarray of bool, shape (n_cells,)
        Cells whose value or cluster is known.
    style : Style
        Style of the figure; `panel_size` scales the points.
    alpha : float
        Opacity of the points.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(coordinates))
    # the area of all points together is about half of the panel's
    size = np.clip(0.45 * (72 * style.panel_size) ** 2 / len(coordinates), 0.4, 40.0)
    for cells, zorder in ((order[~has_value[order]], BELOW), (order[has_value[order]], CELLS)):
        if len(cells) == 0:
            continue
        axes.scatter(
            *coordinates[cells].T,
            s=size,
            c=colors[cells],
            alpha=alpha,
            linewidths=0,
            zorder=zorder,
            rasterized=len(coordinates) > RASTERIZE_ABOVE,
        )


def draw_clusters(axes, coordinates, clusters, *, style, alpha=1.0):
    """Draw cells in the colors of their clusters, those without a cluster below the others.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    coordinates : ndarray of float, shape (n_cells, 2)
        Coordinates of the cells.
    clusters : Clusters
        Clusters of the cells.
    style : Style
        Style of the figure.
    alpha : float
        Opacity of the points.
    """
    draw_cells(axes, coordinates, clusters.cell_colors, clusters.codes >= 0, style=style, alpha=alpha)


def cluster_map(result, style, alpha=1.0):
    """Return a figure and its panel with the cells in the colors of their clusters, and a legend.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        Holds the embedding and the clusters.
    style : Style
        Style of the figure.
    alpha : float
        Opacity of the points.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : matplotlib.axes.Axes
        Its panel.
    """
    clusters = clusters_of(result, style.palette)
    figure, (axes,) = embedding_panels(result, style)
    draw_clusters(axes, embedding_of(result), clusters, style=style, alpha=alpha)
    add_legend(figure, cluster_entries(clusters))
    return figure, axes


def draw_arrows(axes, tails, vectors, *, typical_length, color):
    """Draw arrows above the cells, scaled so that the 95th percentile of their lengths is `typical_length`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    tails, vectors : ndarray of float, shape (n_arrows, 2)
        Start and direction of each arrow. No arrow is drawn if all vectors are zero.
    typical_length : float
        Length in the unit of the embedding.
    color : color or ndarray of float, shape (n_arrows, 4)
        One color, or one per arrow.
    """
    lengths = np.hypot(*vectors.T)
    if not lengths.any():
        return
    # 95th percentile, not max: one outlier would shrink all other arrows to dots
    scale = typical_length / np.percentile(lengths[lengths > 0], 95)
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


def draw_obs_columns(result, style, labels, *, computed_by, percentiles=(0, 100)):
    """Return a figure with one embedding panel per column of `obs`, its cells colored by the column.

    Parameters
    ----------
    result : AnnData or Result
        Holds the columns.
    style : Style
        Style of the figure.
    labels : dict of str to str
        Label of the colorbar by column.
    computed_by : str
        Name of the analysis that computes the columns, for the error message.
    percentiles : tuple of float
        Percentiles of the values at which the colors end.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` lacks one of the columns.
    """
    missing = [column for column in labels if column not in result.obs]
    if missing:
        raise InputError(f"obs lacks {' and '.join(missing)}. Compute {computed_by} first.")
    figure, panels = embedding_panels(result, style, n_panels=len(labels), extra_width=COLORBAR_WIDTH)
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        values = np.asarray(result.obs[column])
        draw_values(axes, embedding_of(result), values, style=style, label=label, percentiles=percentiles)
    return figure


def draw_values(
    axes,
    coordinates,
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
    """Draw cells colored by a value, with a colorbar; cells with NaN are gray and below the others.

    If no value is finite, all cells are gray and there is no colorbar.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    coordinates : ndarray of float, shape (n_cells, 2)
        Coordinates of the cells.
    values : ndarray of float, shape (n_cells,)
        Values of the cells.
    style : Style
        Style of the figure.
    label : str
        Label of the colorbar.
    cmap : str
        Name of the color map.
    percentiles : tuple of float
        Percentiles of the values at which the colors end, unless `limits` are passed.
    limits : tuple of float, optional
        Values at which the colors end.
    symmetric : bool
        If true, the colors are symmetric about 0 and end at the upper percentile of the absolute values.
    shrink : float
        Height of the colorbar as a fraction of the height of the panel.
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    colors = np.tile(to_rgba(UNKNOWN), (len(values), 1))
    if finite.any():
        if limits is not None:
            low, high = limits
        elif symmetric:
            low, high = np.percentile(np.abs(values[finite]), percentiles[1]) * np.array([-1, 1])
        else:
            low, high = np.percentile(values[finite], percentiles)
        # a single value spans no range but still needs a color
        scale = ScalarMappable(Normalize(low, high if high > low else low + 1.0), cmap)
        colors[finite] = scale.to_rgba(values[finite])
        extensions = {(True, True): "both", (True, False): "min", (False, True): "max"}
        beyond = (values[finite].min() < scale.norm.vmin, values[finite].max() > scale.norm.vmax)
        axes.figure.colorbar(
            scale, ax=axes, label=label, extend=extensions.get(beyond, "neither"), shrink=shrink, aspect=25
        ).outline.set_visible(False)
    draw_cells(axes, coordinates, colors, finite, style=style)
