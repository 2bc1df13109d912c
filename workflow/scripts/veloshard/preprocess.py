"""From counts to what the models are fitted on: kept cells and genes, sizes, components, neighbours."""

import logging

import numpy as np
import scanpy as sc
from anndata import AnnData

from veloshard import quality, selection
from veloshard.errors import InputError, choices
from veloshard.readers.common import LAYERS

log = logging.getLogger(__name__)

COMPUTED_EMBEDDING = "X_umap"


def prepare(
    counts,
    *,
    dataset,
    cells=None,
    genes=None,
    min_shared_counts=20,
    n_top_genes=2000,
    n_pcs=30,
    n_neighbors=30,
    pca=None,
    neighbors=False,
    random_state=0,
):
    """Choose, normalise and embed the cells of a dataset, and find their neighbours.

    Parameters
    ----------
    counts : anndata.AnnData, (n_cells, n_genes)
        As `ingest.ingest` returns it; left as it is.
    dataset : str
        Name of the dataset, for messages.
    cells, genes : dict, optional
        Options of `selection.cells_to_keep` and `selection.genes_to_keep`.  A gene that is excluded here
        counts nowhere, not even in the sizes of the cells.
    min_shared_counts : int
        Genes with fewer `shared_counts` are left out.
    n_top_genes : int
        If more genes than this remain, the most variable ones are taken.
    n_pcs, n_neighbors : int
        Principal components, and nearest neighbours of a cell, itself included.  Both are lowered, and
        the latter is warned of, where there are too few cells or genes.
    pca : str, optional
        Key of `obsm` with components that the user brings; the first `n_pcs` are used.
    neighbors : bool or str
        Use the neighbour graph that `ingest` kept, under whatever key the user named it there.
    random_state : int
        Seed of the PCA's starting vector.

    Returns
    -------
    anndata.AnnData, (n_kept_cells, n_kept_genes)
        `X`: log1p of normalised spliced counts, CSR.  `layers` spliced, unspliced: normalised, CSC
        float32.  `obs`: annotations, `initial_size`, `initial_size_spliced`, `initial_size_unspliced`,
        `n_genes`, `unspliced_fraction`.  `obsm`: `X_pca` and the user's own; `varm['PCs']` and `uns['pca']`
        where computed.  `obsp` distances, connectivities, with `uns['neighbors']`.  `uns['prepare']`: what
        was `left_out` (counts of cells and genes), `n_pcs`, `n_neighbors`, `warnings`.

    Raises
    ------
    InputError
        If the selection names what is not there, or fewer than two cells or genes remain.
    """
    chosen = counts[
        selection.cells_to_keep(counts.obs, dataset=dataset, **(cells or {})),
        selection.genes_to_keep(counts.var_names, dataset=dataset, **(genes or {})),
    ]
    filled = without_empty(chosen, dataset=dataset)
    shared = genes_with_shared_counts(filled, min_shared_counts=min_shared_counts, dataset=dataset)
    prepared = normalised(filled, shared, n_top_genes=n_top_genes)
    add_components(prepared, n_pcs=n_pcs, brought=pca, random_state=random_state)
    if not neighbors:
        add_neighbors(prepared, n_neighbors=n_neighbors, random_state=random_state)

    left_out = {
        "deselected_cells": counts.n_obs - chosen.n_obs,
        "empty_cells": chosen.n_obs - filled.n_obs,
        "excluded_genes": counts.n_vars - chosen.n_vars,
        "empty_genes": chosen.n_vars - filled.n_vars,
        "genes_with_few_shared_counts": int(np.sum(~shared)),
        "less_variable_genes": int(np.sum(shared)) - prepared.n_vars,
    }
    numbers = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in left_out.items() if number)
    log.info("%s: %d cells and %d genes stay; left out: %s", dataset, *prepared.shape, numbers or "none")
    warnings = _unusual(prepared, n_neighbors=None if neighbors else n_neighbors)
    for warning in warnings:
        log.warning("%s: %s", dataset, warning)
    prepared.uns["prepare"] = {
        "left_out": left_out,
        "n_pcs": prepared.obsm["X_pca"].shape[1],
        "n_neighbors": prepared.uns["neighbors"]["params"]["n_neighbors"],
        "warnings": np.array(warnings, dtype=str),
    }
    return prepared


def embed(prepared, *, embedding=None, random_state=0):
    """Places of the cells in the embedding of figures, and its name.

    Parameters
    ----------
    prepared : anndata.AnnData, (n_cells, n_genes)
        As `prepare` returns it.
    embedding : str, optional
        Key of `obsm`, by default ``'X_umap'``, which is computed where there is none.
    random_state : int
        Seed of the UMAP.

    Returns
    -------
    tuple of str and numpy.ndarray, (n_cells, n_dims)
        The key and the coordinates.

    Raises
    ------
    InputError
        If there is no such embedding and it is not the one that can be computed.
    """
    name = embedding or COMPUTED_EMBEDDING
    if name in prepared.obsm:
        return name, prepared.obsm[name]
    if name != COMPUTED_EMBEDDING:
        raise InputError(f"no embedding {name!r} in obsm ({choices(prepared.obsm, name)})")
    # a spectral start takes three eigenvectors, for which there must be four cells
    start = "spectral" if prepared.n_obs > 3 else "random"
    embedded = sc.tl.umap(prepared, init_pos=start, random_state=random_state, copy=True)
    return name, embedded.obsm["X_umap"]


def without_empty(adata, *, dataset):
    """Leave out the cells and genes that have no count at all, neither spliced nor unspliced.

    Returns a copy.  Raises InputError if fewer than two cells remain.
    """
    held = sum((adata.layers[layer] > 0).astype(np.int32) for layer in LAYERS)
    cells, genes = np.ravel(held.sum(axis=1)) > 0, np.ravel(held.sum(axis=0)) > 0
    if cells.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {cells.sum()} of {len(cells)} cells have counts, at least 2 are needed. "
            f"Widen datasets.{dataset}.cells or .genes, or give a source with more counts."
        )
    return adata[cells, genes].copy()


def full_depth(adata, layer):
    """Size of each cell: its counts over all genes, also those that are left out later.

    Parameters
    ----------
    adata : anndata.AnnData, (n_cells, n_genes)
        Counts of all genes at hand.
    layer : str
        ``'spliced'`` or ``'unspliced'``.

    Returns
    -------
    numpy.ndarray of float32, (n_cells,)
        What `obs` holds as ``initial_size_<layer>``, the field's name for sizes taken before a file was
        cut down to some genes; where there is no such column, the sum of the layer.
    """
    brought = f"initial_size_{layer}"
    if brought in adata.obs:
        return adata.obs[brought].to_numpy(dtype=np.float32)
    return np.ravel(adata.layers[layer].sum(axis=1, dtype=np.float64)).astype(np.float32)


def shared_counts(spliced, unspliced):
    """Counts of each gene, spliced and unspliced together, in the cells that have both.

    Parameters
    ----------
    spliced, unspliced : scipy.sparse.csr_matrix, (n_cells, n_genes)
        Counts >= 0.

    Returns
    -------
    numpy.ndarray of float64, (n_genes,)
        sum_i [s_i > 0 and u_i > 0] (s_i + u_i), as scVelo's ``min_shared_counts`` takes it; 0 for a gene
        that is never seen in both forms in one cell.
    """
    both = (spliced > 0).multiply(unspliced > 0).astype(np.float64)
    # in double precision: the sum of two unsigned counts of 16 bits may not fit into 16 bits
    return sum(np.ravel(both.multiply(layer).sum(axis=0)) for layer in (spliced, unspliced))


def genes_with_shared_counts(adata, *, min_shared_counts, dataset):
    """Which genes have at least `min_shared_counts` `shared_counts`: bool (n_genes,).

    Raises InputError if fewer than two genes do.
    """
    shared = shared_counts(*(adata.layers[layer] for layer in LAYERS))
    enough = shared >= min_shared_counts
    if enough.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {enough.sum()} of {adata.n_vars} genes have min_shared_counts = "
            f"{min_shared_counts} counts in cells with both spliced and unspliced ones, at least 2 genes "
            f"are needed; the most has gene {adata.var_names[shared.argmax()]!r} with {shared.max():g}. "
            "Lower preprocess.min_shared_counts, or check that the layers are the right ones."
        )
    return enough


def normalised(adata, genes, *, n_top_genes):
    """Scale all cells to the median size, and take logarithms and the variable genes.

    Parameters
    ----------
    adata : anndata.AnnData, (n_cells, n_genes)
        Counts of all genes, from which the sizes of the cells are taken.
    genes : numpy.ndarray of bool, (n_genes,)
        Genes to go on with.
    n_top_genes : int
        See `variable_genes`.

    Returns
    -------
    anndata.AnnData, (n_cells, n_kept_genes)
        `X`, `layers` and `obs` as `prepare` returns them; all else as in `adata`.
    """
    counts = [adata.layers[layer] for layer in LAYERS]
    sizes = [full_depth(adata, layer) for layer in LAYERS]
    scaled = [normalise(layer[:, genes], size) for layer, size in zip(counts, sizes, strict=True)]
    logged = scaled[0].log1p()
    variable = variable_genes(logged, n_top_genes=n_top_genes)
    return AnnData(
        X=logged[:, variable],
        obs=adata.obs.assign(
            initial_size=sizes[0],
            initial_size_spliced=sizes[0],
            initial_size_unspliced=sizes[1],
            **quality.cell_metrics(*counts, *sizes),
        ),
        var=adata.var[genes][variable],
        # by column, so that a job can read a few genes and no more
        layers={layer: values[:, variable].tocsc() for layer, values in zip(LAYERS, scaled, strict=True)},
        obsm=dict(adata.obsm),
        obsp=dict(adata.obsp),
        uns=dict(adata.uns),
    )


def normalise(counts, size):
    """Scale each cell to the median size.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, (n_cells, n_genes)
        Counts of a layer.
    size : numpy.ndarray of float32, (n_cells,)
        `full_depth` of the cells in that layer.

    Returns
    -------
    scipy.sparse.csr_matrix of float32, (n_cells, n_genes)
        x_i median(size) / size_i; a cell of size 0 stays as it is, and so do all if the median is 0.
    """
    # single precision and in this order: these are the bits that published scVelo results start from
    relative = size / (np.median(size) or np.float32(1))
    factor = np.float32(1) / np.where(relative == 0, np.float32(1), relative)
    scaled = counts.astype(np.float32)
    scaled.data *= np.repeat(factor, np.diff(scaled.indptr))
    return scaled


def variable_genes(logged, *, n_top_genes):
    """Which genes vary most for their mean expression, if there are too many.

    Parameters
    ----------
    logged : scipy.sparse.csr_matrix, (n_cells, n_genes)
        log1p of normalised counts.
    n_top_genes : int
        How many genes to take, and more where the last are equal; with no more than these, all are taken.

    Returns
    -------
    numpy.ndarray of bool, (n_genes,)
        True for the genes of highest normalised dispersion (Satija 2015, as scanpy computes it).
    """
    n_genes = logged.shape[1]
    if n_genes <= n_top_genes:
        return np.ones(n_genes, dtype=bool)
    found = sc.pp.highly_variable_genes(AnnData(logged), n_top_genes=n_top_genes, flavor="seurat", inplace=False)
    return found["highly_variable"].to_numpy()


def add_components(prepared, *, n_pcs, brought=None, random_state=0):
    """Write `X_pca`: the user's components or those of X, `n_pcs` or as many as there can be."""
    if brought is not None:
        prepared.obsm["X_pca"] = prepared.obsm[brought][:, :n_pcs].astype(np.float32)
        return
    scores, loadings, ratio, variance = sc.pp.pca(
        prepared.X,
        n_comps=min(n_pcs, min(prepared.shape) - 1),
        svd_solver="arpack",  # exact, and without a dense copy of X
        random_state=random_state,
        return_info=True,
    )
    prepared.obsm["X_pca"], prepared.varm["PCs"] = scores, loadings.T
    prepared.uns["pca"] = {"variance": variance, "variance_ratio": ratio}


def add_neighbors(prepared, *, n_neighbors, random_state=0):
    """Write the exact neighbour graph in `X_pca` where scanpy keeps it."""
    # joined to every other cell, each cell would have the mean of the dataset: scanpy's way out is half
    possible = n_neighbors if n_neighbors < prepared.n_obs else 1 + prepared.n_obs // 2
    sc.pp.neighbors(
        prepared,
        n_neighbors=possible,
        use_rep="X_pca",
        transformer="sklearn",  # exact, unlike the default
        random_state=random_state,
    )


def _unusual(prepared, *, n_neighbors):
    """Warnings about a prepared dataset; `n_neighbors` as asked for, None where the user brings the graph."""
    bare = np.sum(prepared.X.sum(axis=1) == 0)
    alone = np.sum(prepared.obsp["connectivities"].sum(axis=1) == 0)
    used = prepared.uns["neighbors"]["params"]["n_neighbors"]
    warnings = {
        f"{bare} cells have no spliced counts in the {prepared.n_vars} genes that stay": bare > 0,
        f"{alone} cells have no neighbours in the graph that came with the file": alone > 0,
        f"{used} neighbours, not {n_neighbors}, as there are only {prepared.n_obs} cells": used
        != (n_neighbors or used),
    }
    return [warning for warning, holds in warnings.items() if holds]
