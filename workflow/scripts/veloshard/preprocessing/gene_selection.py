"""Select the genes that are fitted."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.errors import InputError, choices, full_name
from veloshard.io.readers.common import LAYERS


def genes_to_keep(
    names: pd.Index,
    *,
    dataset: str,
    exclude: Sequence[str] = (),
    exclude_pattern: str | None = None,
    key: str = "",
) -> NDArray[np.bool_]:
    """Return which genes are not excluded.

    Parameters
    ----------
    names : Index of str, shape (n_genes,)
        Names of the genes.
    dataset : str
        Name of the dataset, for messages.
    exclude : sequence of str
        Genes to exclude.
    exclude_pattern : str, optional
        Regular expression, such as ``"^mt-"``. Genes are excluded if it matches a part of their name.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas.genes"``.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for the genes that are not excluded.

    Raises
    ------
    InputError
        If a gene is not in the data, if the pattern is no regular expression, or if all genes are excluded.
    """
    unknown = [name for name in exclude if name not in names]
    if unknown:
        raise InputError(
            f"dataset {dataset!r}: {len(unknown)} of the genes to exclude are not in the data: "
            f"{', '.join(unknown[:3])} ({choices(names, unknown[0], most=3)}). Correct {full_name('exclude', key)}."
        )
    is_kept: NDArray[np.bool_] = ~names.isin(list(exclude))
    if exclude_pattern is not None:
        try:
            is_kept &= ~names.str.contains(re.compile(exclude_pattern))
        except re.error as error:
            raise InputError(
                f"dataset {dataset!r}: {exclude_pattern!r} is not a regular expression ({error}). Correct "
                f"{full_name('exclude_pattern', key)}; for example, '^mt-' excludes mitochondrial genes of the mouse."
            ) from error
    if not is_kept.any():
        raise InputError(
            f"dataset {dataset!r}: all {len(names)} genes are excluded. Exclude fewer by "
            f"{full_name('exclude', key)} or {full_name('exclude_pattern', key)}."
        )
    return is_kept


def drop_excluded_genes(adata: AnnData, *, dataset: str, key: str = "", **genes: Any) -> AnnData:
    """Return a dataset without excluded genes.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Counts.
    dataset : str
        Name of the dataset, for messages.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas.genes"``.
    **genes
        Options `exclude` and `exclude_pattern` of `genes_to_keep`.

    Returns
    -------
    AnnData
        View of `adata`.
    """
    return adata[:, genes_to_keep(adata.var_names, dataset=dataset, key=key, **genes)]


def shared_counts(spliced: sparse.csr_matrix, unspliced: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the counts of each gene in the cells that have both spliced and unspliced counts of it.

    Parameters
    ----------
    spliced, unspliced : csr_matrix, shape (n_cells, n_genes)
        Counts; >= 0.

    Returns
    -------
    ndarray of float64, shape (n_genes,)
        sum_i [s_i > 0 and u_i > 0] (s_i + u_i), as in scVelo's ``min_shared_counts``.
    """
    has_both = (spliced > 0).multiply(unspliced > 0).astype(np.float64)
    # in double precision, because the sum of two unsigned 16-bit counts may not fit into 16 bits
    of_spliced, of_unspliced = (np.ravel(has_both.multiply(layer).sum(axis=0)) for layer in (spliced, unspliced))
    return of_spliced + of_unspliced


def genes_with_shared_counts(adata: AnnData, *, min_shared_counts: float, dataset: str) -> NDArray[np.bool_]:
    """Return which genes have enough shared counts.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Counts.
    min_shared_counts : float
        Lower bound of the gene's `shared_counts`.
    dataset : str
        Name of the dataset, for messages.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for the genes with enough shared counts.

    Raises
    ------
    InputError
        If fewer than two genes have enough.
    """
    shared = shared_counts(*(adata.layers[layer] for layer in LAYERS))
    has_enough: NDArray[np.bool_] = shared >= min_shared_counts
    if has_enough.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {has_enough.sum()} of {adata.n_vars} genes have min_shared_counts = "
            f"{min_shared_counts} counts in cells with both spliced and unspliced counts, at least 2 genes are needed. "
            f"Gene {adata.var_names[shared.argmax()]!r} has the most, {shared.max():g}. "
            "Lower min_shared_counts, or check that the layers are the right ones."
        )
    return has_enough


def highly_variable_genes(logged: sparse.csr_matrix, *, n_top_genes: int) -> NDArray[np.bool_]:
    """Return the genes with the highest normalized dispersion (Satija et al. 2015, computed by scanpy).

    Parameters
    ----------
    logged : csr_matrix, shape (n_cells, n_genes)
        log1p of normalized counts.
    n_top_genes : int
        Number of genes, more in case of ties. If there are not more genes than this, all are returned.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for the highly variable genes.
    """
    n_genes = logged.shape[1]
    if n_genes <= n_top_genes:
        return np.ones(n_genes, dtype=bool)
    dispersions = sc.pp.highly_variable_genes(AnnData(logged), n_top_genes=n_top_genes, flavor="seurat", inplace=False)
    is_variable: NDArray[np.bool_] = dispersions["highly_variable"].to_numpy()
    return is_variable
