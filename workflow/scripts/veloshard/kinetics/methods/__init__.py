"""Gene-wise methods, one module each, with `fit(block, **options)` and `velocity_genes(genes, **options)`."""

import difflib
import importlib
import inspect
import logging
import pkgutil
from collections import Counter

import numpy as np
from scipy import sparse

from veloshard.errors import InputError

log = logging.getLogger(__name__)


# The velocity graph correlates centered vectors over the genes. With a single gene these are 0.
MIN_VELOCITY_GENES = 2


def names():
    """Return the names of all methods, which are the names of the modules in this package.

    Returns
    -------
    list of str
        Names in alphabetical order.
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name):
    """Return the module of a method.

    Parameters
    ----------
    name : str
        Name of the method.

    Returns
    -------
    module
        Module with the functions `fit` and `velocity_genes`.

    Raises
    ------
    ValueError
        For an unknown name. The message lists the methods.
    """
    if name not in names():
        raise ValueError(f"no method {name!r} (there are: {', '.join(names())})")
    return importlib.import_module(f"{__name__}.{name}")


def run(block, *, method, **options):
    """Fit a block of genes by a method.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes. Genes with NaN or infinite counts are not fitted.
    method : str
        Name of the method.
    **options
        Options of the method, for its fit and for its velocity genes. Only the former are used here.

    Returns
    -------
    veloshard.contract.Fit
        Columns and layers of all genes of the block, in its order.

    Raises
    ------
    ValueError
        For an option that the method does not have.
    """
    fit = load(method).fit
    _require_known(method, options)
    broken = ~(_finite(block.spliced) & _finite(block.unspliced))
    if broken.any():
        block = block._replace(spliced=_emptied(block.spliced, broken), unspliced=_emptied(block.unspliced, broken))
    fitted = fit(block, **_accepted(fit, options))
    reason = np.where(broken, "counts that are not finite", fitted.genes["reason"])
    return fitted._replace(genes={**fitted.genes, "reason": reason})


def select(genes, *, method, **options):
    """Return the genes of a dataset that enter the velocity graph.

    Parameters
    ----------
    genes : dict of ndarray, shape (n_genes,)
        Columns of a `Fit` of all genes of the dataset.
    method : str
        Name of the method.
    **options
        Options of the method, for its fit and for its velocity genes. Only the latter are used here.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for velocity genes.

    Raises
    ------
    InputError
        For fewer than `MIN_VELOCITY_GENES` velocity genes. The message lists why genes were not fitted.
    ValueError
        For an option that the method does not have.
    """
    velocity_genes = load(method).velocity_genes
    _require_known(method, options)
    chosen = velocity_genes(genes, **_accepted(velocity_genes, options))
    advice = "Lower the method's bounds (min_r2, min_ratio), or check how introns were counted."
    return require_velocity_genes(chosen, genes, method=method, advice=advice)


def require_velocity_genes(chosen, genes, *, method, advice):
    """Return the velocity genes if there are enough of them, and log how many genes were fitted.

    Parameters
    ----------
    chosen : ndarray of bool, shape (n_genes,)
        True for velocity genes.
    genes : dict of ndarray, shape (n_genes,)
        Columns of a `Fit`, among them `status` and `reason`.
    method : str
        Name of the method, for the message.
    advice : str
        What to do if there are too few velocity genes, for the message.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        `chosen`, unchanged.

    Raises
    ------
    InputError
        For fewer than `MIN_VELOCITY_GENES` velocity genes. The message lists why genes were not fitted.
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


def option_names(name):
    """Return the names of the options of a method, for its fit and for its velocity genes."""
    method = load(name)
    return {
        parameter.name
        for function in (method.fit, method.velocity_genes)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _require_known(name, options):
    """Raise ValueError for an option that a method does not have, with the nearest of those it has."""
    accepted = option_names(name)
    for option in options:
        if option not in accepted:
            nearest = difflib.get_close_matches(option, accepted, n=1)
            advice = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(sorted(accepted))}"
            raise ValueError(f"the method {name!r} has no option {option!r}; {advice}")


def _accepted(function, options):
    """Return the options of a method that one of its functions takes."""
    return {key: value for key, value in options.items() if key in inspect.signature(function).parameters}


def _finite(counts):
    """Return the genes of a CSC matrix (n_cells, n_genes) without NaN or infinity, bool (n_genes,)."""
    # a sum is finite only if all its terms are; the zeros that a sparse matrix does not store are finite
    return np.isfinite(np.asarray(counts.sum(axis=0))).ravel()


def _emptied(counts, genes):
    """Return a copy of a CSC matrix with the counts of some genes, bool (n_genes,), set to 0."""
    emptied = sparse.csc_matrix(counts)
    emptied.data = np.where(np.repeat(genes, np.diff(emptied.indptr)), np.float32(0), emptied.data)
    return emptied
