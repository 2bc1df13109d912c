"""What a velocity result must hold, whoever made it: checked where results enter."""

from typing import NamedTuple

import numpy as np

from veloshard.moments import Neighborhood

REQUIRED_COLUMNS = ("status", "reason")
REQUIRED_LAYERS = ("velocity",)


class GeneBlock(NamedTuple):
    """What a gene-wise method is given: the normalised counts of some genes in all cells.

    names : (n_genes,) str.   spliced, unspliced : CSC float32 (n_cells, n_genes).   around : `Neighborhood`.
    """

    names: np.ndarray
    spliced: object
    unspliced: object
    around: Neighborhood


class Fit(NamedTuple):
    """What a method returns.

    genes : columns (n_genes,), among them `status` (`ok` or the kind of failure) and `reason` (empty or a
        sentence).   layers : float32 (n_genes, n_cells), among them `velocity`; rows without a fit are NaN.
    """

    genes: dict
    layers: dict


def status_of(*failures):
    """Status and reason of genes from (mask, reason) pairs; of several that hold, the first counts.

    Returns two arrays of str (n_genes,): `ok` and an empty reason, or `not_fitted` and the reason.
    """
    masks = [mask for mask, _ in failures]
    reason = np.select(masks, [text for _, text in failures], default="")
    return np.where(reason == "", "ok", "not_fitted"), reason


def check(fit, n_genes, n_cells):
    """Raise ValueError unless `fit` is a complete result for n_genes genes and n_cells cells."""
    for kind, table, required in (
        ("column", fit.genes, REQUIRED_COLUMNS),
        ("layer", fit.layers, REQUIRED_LAYERS),
    ):
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
    sound = fit.genes["status"] == "ok"
    if not np.isfinite(fit.layers["velocity"][sound]).all():
        bad = np.flatnonzero(sound & ~np.isfinite(fit.layers["velocity"]).all(axis=1))
        raise ValueError(f"{len(bad)} genes have status 'ok' but velocities that are not finite (first row: {bad[0]})")
