"""Data of the negative controls: counts permuted among similar cells, and thinned counts.

Negative controls use at most some thousand cells, so that time and memory do not grow with the dataset.
"""

import numpy as np
from anndata import AnnData
from scipy import sparse
from sklearn.cluster import KMeans

from veloshard.errors import InputError
from veloshard.io.readers.common import LAYERS
from veloshard.labels import cluster_codes
from veloshard.preprocessing.neighbors import add_neighbors, add_pcs
from veloshard.preprocessing.normalization import normalize_dataset

# fraction of the molecules in the thinned counts
KEPT_COUNTS = 0.5


# counts permuted within groups of cells (the null control), and thinned counts
CONTROLS = ("permuted", "thinned")


# number of groups for the permutation of cells without clusters
N_GROUPS = 10


def draw_subsample(prepared, *, max_cells, random_state):
    """Return a random subset of the cells of a prepared dataset, with its own neighbors.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Prepared dataset, as `prepare_data` returns it.
    max_cells : int
        Number of cells to draw.
    random_state : int
        Seed of the draw.

    Returns
    -------
    AnnData
        The cells that were drawn, in the order of the dataset, or `prepared` itself if it has at most `max_cells`
        cells.
    """
    if prepared.n_obs <= max_cells:
        return prepared
    cells = np.random.default_rng(random_state).choice(prepared.n_obs, max_cells, replace=False)
    subsample = prepared[np.sort(cells)].copy()
    add_neighbors(subsample, n_neighbors=int(prepared.uns["prepare"]["n_neighbors"]), random_state=random_state)
    return subsample


def permutation_groups(subsample, clusters, *, random_state=0):
    """Return groups of similar cells, within which counts are permuted.

    Parameters
    ----------
    subsample : AnnData, shape (n_cells, n_genes)
        Prepared cells.
    clusters : str
        Column of `obs` with the clusters. For an empty string, the groups are `N_GROUPS` clusters by k-means on the
        principal components.
    random_state : int
        Seed of k-means.

    Returns
    -------
    ndarray of int, shape (n_cells,)
        Group of each cell, -1 for cells without a label.
    """
    if clusters:
        return cluster_codes(subsample.obs, clusters)[1]
    n_groups = min(N_GROUPS, subsample.n_obs)
    return KMeans(n_groups, n_init=1, random_state=random_state).fit(subsample.obsm["X_pca"]).labels_


def make_negative_control(counts, subsample, *, control, groups, random_state=0):
    """Return the data of a negative control.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts of the cells of the subsample, of all genes.
    subsample : AnnData, shape (n_cells, n_prepared_genes)
        Prepared cells.
    control : str
        One of `CONTROLS`.
    groups : ndarray of int, shape (n_cells,)
        Groups of `permutation_groups`.
    random_state : int
        Seed of the control.

    Returns
    -------
    prepared : AnnData, shape (n_cells, n_prepared_genes)
        Prepared dataset of the control.
    counts : AnnData, shape (n_cells, n_genes)
        Counts of the control.

    Raises
    ------
    InputError
        If counts that are not whole numbers would have to be thinned.
    """
    rng = np.random.default_rng([random_state, CONTROLS.index(control)])
    if control == "permuted":
        source_cells = permutations_within(groups, rng)
        return permute_cells(subsample, source_cells), permute_cells(counts, source_cells)
    for layer in LAYERS:
        if not _are_whole(counts.layers[layer]):
            raise InputError(f"the {layer} counts are not whole numbers and cannot be thinned. Use raw counts.")
    # size factors of the input file, which are not copied, would be those of all molecules
    thinned = AnnData(
        obs=counts.obs[[]],
        var=counts.var[[]],
        layers={layer: thin_counts(counts.layers[layer], rng) for layer in LAYERS},
    )
    return _prepare_like(subsample, thinned, random_state), thinned


def permutations_within(groups, rng):
    """Return a random permutation of the cells within groups for each layer of counts.

    Parameters
    ----------
    groups : ndarray of int, shape (n_cells,)
        Group of each cell. Cells with -1 are not permuted.
    rng : numpy.random.Generator
        Generator of the permutations.

    Returns
    -------
    dict of str to ndarray of int, shape (n_cells,)
        For each layer, the cell from which each cell takes its counts.
    """
    source_cells = {}
    for layer in LAYERS:
        source_cells[layer] = np.arange(len(groups))
        for group in np.unique(groups[groups >= 0]):
            members = np.flatnonzero(groups == group)
            source_cells[layer][members] = rng.permutation(members)
    return source_cells


def permute_cells(data, source_cells):
    """Return a copy of an AnnData with permuted layers.

    Parameters
    ----------
    data : AnnData, shape (n_cells, n_genes)
        Cells with the layers of counts.
    source_cells : dict of str to ndarray of int, shape (n_cells,)
        Permutations of `permutations_within`.

    Returns
    -------
    AnnData
        Copy of `data` whose layers have their rows permuted.
    """
    permuted = data.copy()
    for layer in LAYERS:
        permuted.layers[layer] = data.layers[layer].tocsr()[source_cells[layer]].asformat(data.layers[layer].format)
    return permuted


def thin_counts(counts, rng):
    """Return counts in which each molecule is kept with the probability `KEPT_COUNTS`.

    Parameters
    ----------
    counts : sparse matrix, shape (n_cells, n_genes)
        Whole numbers.
    rng : numpy.random.Generator
        Generator of the draws.

    Returns
    -------
    csr_matrix of float32, shape (n_cells, n_genes)
        Thinned counts.
    """
    thinned = sparse.csr_matrix(counts, copy=True)
    thinned.data = rng.binomial(thinned.data.astype(np.int64), KEPT_COUNTS).astype(np.float32)
    thinned.eliminate_zeros()
    return thinned


def _prepare_like(subsample, counts, random_state):
    """Return the prepared dataset of other counts of a subsample, with its genes and its options."""
    genes = counts.var_names.isin(subsample.var_names)
    prepared = normalize_dataset(counts, genes, n_top_genes=genes.sum())
    if "PCs" in subsample.varm:
        add_pcs(prepared, n_pcs=int(subsample.uns["prepare"]["n_pcs"]), random_state=random_state)
    else:
        # components of the input file, perhaps batch-corrected, which components of these counts would not be
        prepared.obsm["X_pca"] = subsample.obsm["X_pca"]
    add_neighbors(prepared, n_neighbors=int(subsample.uns["prepare"]["n_neighbors"]), random_state=random_state)
    return prepared


def _are_whole(counts):
    data = sparse.csr_matrix(counts).data
    return np.array_equal(data, np.rint(data))
