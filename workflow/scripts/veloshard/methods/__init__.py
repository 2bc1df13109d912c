"""The gene-wise methods: each a module here with `fit(block, **options)` and `velocity_genes(genes)`."""

import importlib
import inspect
import pkgutil


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
    return fit(block, **_accepted(fit, options))


def select(genes, *, method, **options):
    """Genes of the whole dataset that enter the velocity graph, bool (n_genes,).

    genes : columns of a `Fit` of all genes.
    """
    velocity_genes = load(method).velocity_genes
    return velocity_genes(genes, **_accepted(velocity_genes, options))


def _accepted(function, options):
    """Those of a method's options that one of its functions takes."""
    return {key: value for key, value in options.items() if key in inspect.signature(function).parameters}
