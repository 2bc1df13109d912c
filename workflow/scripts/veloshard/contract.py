"""Types and checks of what enters and leaves a velocity method."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from veloshard.neighborhood import Neighborhood

REQUIRED_COLUMNS = ("status", "reason")


REQUIRED_LAYERS = ("velocity",)


class GeneBlock(NamedTuple):
    """Input of a velocity method: the normalized counts of some genes in all cells.

    Attributes
    ----------
    names : ndarray of str, shape (n_genes,)
        Names of the genes.
    spliced, unspliced : csc_matrix of float32, shape (n_cells, n_genes)
        Normalized counts.
    neighborhood : Neighborhood
        Averaging weights of the cells.
    """

    names: NDArray[np.str_]
    spliced: sparse.csc_matrix
    unspliced: sparse.csc_matrix
    neighborhood: Neighborhood


class Fit(NamedTuple):
    """Result of a velocity method.

    Attributes
    ----------
    genes : dict of str to ndarray, shape (n_genes,)
        Columns of the genes. `status` is ``"ok"`` or the kind of failure. `reason` is empty or a sentence.
    layers : dict of str to ndarray of float32, shape (n_genes, n_cells)
        Layers, among them `velocity`. Rows of genes without a fit are NaN.
    """

    genes: Mapping[str, NDArray[Any]]
    layers: Mapping[str, NDArray[np.float32]]


def status_of(*failures: tuple[NDArray[np.bool_], str]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return the status and the reason of genes.

    Parameters
    ----------
    *failures : tuple of (ndarray of bool with shape (n_genes,), str)
        Genes that failed, and why. The first failure that applies to a gene gives its reason.

    Returns
    -------
    status : ndarray of str, shape (n_genes,)
        ``"ok"`` or ``"not_fitted"``.
    reason : ndarray of str, shape (n_genes,)
        Empty where the status is ``"ok"``.
    """
    masks = [mask for mask, _ in failures]
    reason = np.select(masks, [text for _, text in failures], default="")
    return np.where(reason == "", "ok", "not_fitted"), reason


def check(fit: Fit, n_genes: int, n_cells: int) -> None:
    """Check that a fit is complete.

    Parameters
    ----------
    fit : Fit
        Result of a velocity method.
    n_genes, n_cells : int
        Expected numbers of genes and cells.

    Raises
    ------
    ValueError
        If a required column or layer is missing, if a shape or type is wrong, or if a gene with status ``"ok"`` has
        velocities that are not finite.
    """
    tables: tuple[tuple[str, Mapping[str, NDArray[Any]], tuple[str, ...]], ...] = (
        ("column", fit.genes, REQUIRED_COLUMNS),
        ("layer", fit.layers, REQUIRED_LAYERS),
    )
    for kind, table, required in tables:
        missing = [name for name in required if name not in table]
        if missing:
            raise ValueError(f"a velocity result needs the {kind} {missing[0]!r} (found: {', '.join(table)})")
    for name, values in fit.genes.items():
        if values.shape != (n_genes,):
            raise ValueError(f"column {name!r} has shape {values.shape}, not ({n_genes},)")
    for name, values in fit.layers.items():
        if values.shape != (n_genes, n_cells) or values.dtype != np.float32:
            raise ValueError(
                f"layer {name!r} is {values.dtype} {values.shape}, not float32 ({n_genes}, {n_cells}) genes x cells"
            )
    is_fitted = fit.genes["status"] == "ok"
    if not np.isfinite(fit.layers["velocity"][is_fitted]).all():
        bad = np.flatnonzero(is_fitted & ~np.isfinite(fit.layers["velocity"]).all(axis=1))
        raise ValueError(f"{len(bad)} genes have status 'ok' but velocities that are not finite (first row: {bad[0]})")
