"""The gene-wise methods: each a module here with `fit(block, **options)` and `velocity_genes(genes)`."""

import importlib
import inspect
import logging
import pkgutil
from collections import Counter

import numpy as np
from scipy import sparse

from veloshard.errors import InputError

log = logging.getLogger(__name__)

# Correlations over the genes are taken of two vectors that were each centred: a single gene has none.
MIN_VELOCITY_GENES = 2


def names():
    """Names of all methods, found by file name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name):
    """The module of a method; raises ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"no method {name!r} (there are: {', '.join(names())})")
    return importlib.import_module(f"{__name__}.{name}")


def run(block, *, method, **options):
    """`Fit` of a block of genes, by a method with its options for the fit."""
    fit = load(method).fit
    broken = ~(_finite(block.spliced) & _finite(block.unspliced))
    if broken.any():
        block = block._replace(spliced=_emptied(block.spliced, broken), unspliced=_emptied(block.unspliced, broken))
    found = fit(block, **_accepted(fit, options))
    reason = np.where(broken, "counts that are no finite numbers", found.genes["reason"])
    return found._replace(genes={**found.genes, "reason": reason})


def select(genes, *, method, **options):
    """Genes of the whole dataset that enter the velocity graph, bool (n_genes,).

    genes : columns of a `Fit` of all genes.
    Raises InputError where fewer than `MIN_VELOCITY_GENES` do: it says how many were not fitted for which reason.
    """
    velocity_genes = load(method).velocity_genes
    chosen = velocity_genes(genes, **_accepted(velocity_genes, options))
    advice = "Lower the method's bounds (min_r2, min_ratio), or check how introns were counted."
    return require_some(chosen, genes, method=method, advice=advice)


def require_some(chosen, genes, *, method, advice):
    """The velocity genes as they were chosen, bool (n_genes,); how many, and of the others why not, is logged.

    genes : columns `status` and `reason`.   advice : what to do where they are fewer than `MIN_VELOCITY_GENES`, which
    raises InputError.
    """
    fitted = genes["status"] == "ok"
    failures = "; ".join(f"{number} {reason}" for reason, number in Counter(genes["reason"][~fitted]).most_common())
    summary = f"fitted {fitted.sum()} of {len(fitted)} genes{f' ({failures})' if failures else ''}"
    if np.sum(chosen) < MIN_VELOCITY_GENES:
        raise InputError(
            f"{method}: {np.sum(chosen)} genes can enter the velocity graph, at least {MIN_VELOCITY_GENES} are "
            f"needed; {summary}. {advice}"
        )
    log.info("%s; %d enter the velocity graph", summary, np.sum(chosen))
    return chosen


def _accepted(function, options):
    """Those of a method's options that one of its functions takes."""
    return {key: value for key, value in options.items() if key in inspect.signature(function).parameters}


def _finite(counts):
    """Genes of a CSC matrix (n_cells, n_genes) without NaN or infinity, bool (n_genes,)."""
    # a sum is finite only if all that it adds are; too many zeros make no difference
    return np.isfinite(np.asarray(counts.sum(axis=0))).ravel()


def _emptied(counts, genes):
    """A CSC matrix with all counts of some genes, bool (n_genes,), taken out."""
    kept = sparse.csc_matrix(counts)
    kept.data = np.where(np.repeat(genes, np.diff(kept.indptr)), np.float32(0), kept.data)
    return kept
