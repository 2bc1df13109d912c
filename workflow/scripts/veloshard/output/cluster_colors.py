"""Colors of clusters: from the style, from the file, or from a color-blind-safe palette."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from veloshard.errors import InputError, choices

# all cells of a dataset without clusters
NEUTRAL = "#9A9A9A"

# cells without a value or a cluster
UNKNOWN = "#DADADA"

# Okabe & Ito (2008), with gray for black: black is the color of arrows, curves and text
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")

# colors of maximum contrast of Kelly (1965) without white and black, ordered so that neighbors in the legend differ
# clearly
KELLY = (
    "#0067A5", "#F38400", "#008856", "#BE0032", "#A1CAF1", "#875692", "#F3C300", "#E68FAC", "#8DB600",
    "#882D17", "#604E97", "#C2B280", "#E25822", "#2B3D26", "#B3446C", "#DCD300", "#654522", "#F99379",
    "#848482", "#F6A600",
)  # fmt: skip


class AnnotatedCells(Protocol):
    """Annotations of cells, with the attributes of AnnData: an AnnData, a velocity result or a comparison."""

    @property
    def obs(self) -> pd.DataFrame:
        """Columns of the cells."""

    @property
    def uns(self) -> Mapping[str, Any]:
        """Unstructured annotations."""


class Clusters(NamedTuple):
    """Clusters of the cells and their colors.

    Attributes
    ----------
    names : tuple of str
        Names of the clusters that have cells, in the order of their categories.
    codes : ndarray of int, shape (n_cells,)
        Index into `names`. -1 for a cell without a cluster.
    colors : ndarray of float, shape (n_clusters, 4)
        RGBA colors of the clusters.
    unknown : str
        Color of cells without a cluster.
    """

    names: tuple[str, ...]
    codes: NDArray[np.intp]
    colors: NDArray[np.float64]
    unknown: str

    @property
    def cell_colors(self) -> NDArray[np.float64]:
        """RGBA color of every cell, shape (n_cells, 4)."""
        return np.vstack([self.colors, to_rgba_array(self.unknown)])[self.codes]


def distinct_colors(n_clusters: int) -> tuple[ColorType, ...]:
    """Return `n_clusters` distinguishable colors; up to eight are safe for color-blind readers."""
    if n_clusters <= len(OKABE_ITO):
        return OKABE_ITO[:n_clusters]
    # beyond one round the same hues are repeated, each time halfway to white
    return tuple(_lighten(KELLY[i % len(KELLY)], 0.5 ** (i // len(KELLY))) for i in range(n_clusters))


def _lighten(color: str, weight: float) -> tuple[float, float, float]:
    """Return `weight` * color + (1 - weight) * white."""
    red, green, blue = to_rgb(color)
    return 1 - (1 - red) * weight, 1 - (1 - green) * weight, 1 - (1 - blue) * weight


def clusters_of(result: AnnotatedCells, palette: Mapping[str, ColorType] | None = None) -> Clusters:
    """Return the clusters of a result with their colors.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        `uns["velocity_params"]["clusters"]` names the column of `obs`. Without it no cell has a cluster, and all are
        gray.
    palette : mapping of str to color, optional
        Colors by cluster. Clusters that are not in it get the color in `uns["<column>_colors"]`, or one of
        `distinct_colors`.

    Returns
    -------
    Clusters
        Names, codes and colors of the clusters.

    Raises
    ------
    InputError
        If the column is not in `obs`.
    """
    column = result.uns.get("velocity_params", {}).get("clusters")
    if column is None:
        return Clusters((), np.full(len(result.obs), -1), np.empty((0, 4)), NEUTRAL)
    if column not in result.obs:
        raise InputError(f"no column {column!r} in obs ({choices(result.obs.columns, column)}).")
    values = result.obs[column].astype("category").cat
    codes = values.codes.to_numpy()
    colors = _category_colors(values.categories, palette or {}, result.uns.get(f"{column}_colors", ()))
    present = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(values.categories)))
    names = tuple(str(values.categories[i]) for i in present)
    return Clusters(names, pd.Index(present).get_indexer(codes), to_rgba_array([colors[i] for i in present]), UNKNOWN)


def _category_colors(
    categories: pd.Index, palette: Mapping[str, ColorType], stored: Sequence[ColorType]
) -> list[ColorType]:
    """Return one color per category: the color of the palette, else the stored color, else a default color."""
    # a different number of stored colors belongs to other clusters, as after taking a subset of the cells
    defaults = stored if len(stored) == len(categories) else distinct_colors(len(categories))
    return [palette.get(str(name), default) for name, default in zip(categories, defaults, strict=True)]
