"""The same fit on counts that should say less: a null control, and half of the molecules; and by other methods.

All of it is computed on at most some thousand cells, so that time and memory do not grow with the dataset.
"""

import logging
from functools import partial
from typing import NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse
from sklearn.cluster import KMeans

from veloshard import methods
from veloshard.coherence import gene_coherence
from veloshard.confidence import confidence_and_length
from veloshard.contract import GeneBlock
from veloshard.errors import InputError
from veloshard.graph import scaled_to_range
from veloshard.moments import first_moments, neighborhood
from veloshard.neighbors import connectivity_weights
from veloshard.preprocess import add_components, add_neighbors, normalised
from veloshard.readers.common import LAYERS
from veloshard.selection import cluster_codes

log = logging.getLogger(__name__)

# of the molecules, those that a fit of half the depth sees
KEPT_COUNTS = 0.5
# by which a method's velocities are compared with others'
GENE_WISE = ("steady_state", "stochastic", "dynamical")
# the null control, and half of the molecules
CONTROLS = ("permuted", "thinned")
# what the null control leaves of
SURVIVING = ("likelihood", "confidence", "coherence")
# column of the samples' names, and cells of a sample that can be judged alone
SAMPLE = "sample"
MIN_CELLS_OF_SAMPLE = 200
# for the null control of cells without clusters
N_GROUPS = 10


class Run(NamedTuple):
    """A fit of some cells: its `contract.Fit`, mask of velocity genes, moments of all genes and neighbour graph."""

    fit: object
    velocity_genes: np.ndarray
    spliced_moments: np.ndarray
    distances: sparse.csr_matrix


def take_sample(prepared, *, max_cells, random_state):
    """A prepared dataset of at most `max_cells` cells: as it is, or cells drawn from it with neighbours of their own.

    prepared : anndata.AnnData, as `preprocess.prepare` returns it.   random_state : seed of the draw.
    """
    if prepared.n_obs <= max_cells:
        return prepared
    drawn = np.random.default_rng(random_state).choice(prepared.n_obs, max_cells, replace=False)
    sample = prepared[np.sort(drawn)].copy()
    add_neighbors(sample, n_neighbors=int(prepared.uns["prepare"]["n_neighbors"]), random_state=random_state)
    return sample


def groups_of(sample, clusters, *, random_state=0):
    """Groups of cells that are alike, int (n_cells,), -1 for cells of none.

    clusters : column of `obs`; '' for `N_GROUPS` groups by k-means on the principal components, from a seed.
    """
    if clusters:
        return cluster_codes(sample.obs, clusters)[1]
    n_groups = min(N_GROUPS, sample.n_obs)
    return KMeans(n_groups, n_init=1, random_state=random_state).fit(sample.obsm["X_pca"]).labels_


def run_controls(counts, sample, *, groups, method, sqrt_transform, scale_genes=False, random_state=0, modelled=None):
    """What of a method's result survives its controls.

    Parameters
    ----------
    counts : anndata.AnnData, (n_cells, n_genes)
        Counts of the same cells as they were read, of all genes.
    sample : anndata.AnnData, (n_cells, n_prepared_genes)
        Of `take_sample`.
    groups : numpy.ndarray of int, (n_cells,)
        Of `groups_of`.
    method : dict
        Options of the method, with its name.
    sqrt_transform, scale_genes : bool
        Of the method's velocity graph.
    random_state : int
        Seed of all draws.
    modelled : dict, optional
        For a method that is no gene-wise one, its `contract.Fit` with the column `velocity_genes`: `observed`, of the
        sample's cells, and those of the controls that it was run on, by their name in `CONTROLS`, or a sentence why
        it made nothing of one.

    Returns
    -------
    dict
        Fit for JSON.  `cells`: how many were used.  `observed`, `permuted`, `thinned`: each `velocity_genes`,
        `likelihood` (median over velocity genes; None for methods without), `confidence` (mean over cells) and
        `coherence` (`coherence.gene_coherence`); with no velocity genes the others are None.  A control that was not
        run holds a `reason` and no numbers.

        `samples`: of a dataset of several samples, how many have `MIN_CELLS_OF_SAMPLE` cells, and the `coherence` of
        fits to each alone (of `modelled` those cells of the one fit), mean by numbers of cells; None of a single
        sample.  Samples that differ in their chemistry make all genes point from one to the other.

        `permuted` is the null control: unspliced and spliced counts each permuted among the cells of a group, so
        that groups keep their means, and nothing within them depends on anything.  Its `variation` is the share
        of the velocities' variance within groups that survives (median over genes), its `cosine` that of the
        cells' velocities with the observed ones (median).  `survives`: of the numbers named `SURVIVING`, permuted over
        observed.  `thinned` has seen each molecule with probability one half, and its neighbours by those; its
        `cosine` likewise.  `methods`: `cosine` of the velocities with those of each other gene-wise method with its
        default options, over the velocity genes of both.
    """
    score = partial(_scores, random_state=random_state, sqrt_transform=sqrt_transform, scale_genes=scale_genes)
    observed = _run(sample, method) if modelled is None else _as_run(modelled["observed"], sample)
    found = {"cells": sample.n_obs, "observed": score(observed)}
    found["samples"] = _within_samples(sample, None if modelled else method, observed, score, random_state)
    log.info("observed: %s; within samples: %s", found["observed"], found["samples"])

    for control in CONTROLS:
        given = None if modelled is None else modelled.get(control, "not run on it (trust.model_controls asks for it)")
        if isinstance(given, str):
            found[control] = {"reason": given}
            continue
        try:
            data, _ = make_control(counts, sample, control=control, groups=groups, random_state=random_state)
        except InputError as error:
            found[control] = {"reason": str(error)}
            continue
        run = _run(data, method) if given is None else _as_run(given, data)
        found[control] = {**score(run), "cosine": _median_cosine(observed, run)}
        if control == "permuted":
            found[control]["variation"] = _surviving_variation(observed, run, groups)
        log.info("%s: %s", control, found[control])
    found["survives"] = {name: _share(found["permuted"].get(name), found["observed"][name]) for name in SURVIVING}

    others = [name for name in GENE_WISE if name != method["method"]]
    found["methods"] = {name: _median_cosine(observed, _run(sample, {"method": name})) for name in others}
    return found


def make_control(counts, sample, *, control, groups, random_state=0):
    """The data of a control, prepared and as counts: two AnnData, (n_cells, n_prepared_genes) and (n_cells, n_genes).

    counts, sample, groups, random_state : as `run_controls` takes them.   control : one of `CONTROLS`.
    Raises InputError where counts cannot be thinned.
    """
    rng = np.random.default_rng([random_state, CONTROLS.index(control)])
    if control == "permuted":
        sources = permutations_within(groups, rng)
        return permuted(sample, sources), permuted(counts, sources)
    if not all(_are_whole(counts.layers[layer]) for layer in LAYERS):
        raise InputError("counts are no whole numbers, which cannot be thinned")
    # sizes that came with the file are those of all molecules
    half = AnnData(
        obs=counts.obs[[]], var=counts.var[[]], layers={layer: thin(counts.layers[layer], rng) for layer in LAYERS}
    )
    return _prepared_like(sample, half, random_state), half


def _within_samples(sample, method, observed, score, random_state):
    """Number of large samples, and coherence of fits to each alone; without a `method`, of the observed one there."""
    names = sample.obs.get(SAMPLE, default="")
    sizes = np.unique(names, return_counts=True)
    large = {name: size for name, size in zip(*sizes, strict=True) if size >= MIN_CELLS_OF_SAMPLE}
    if len(sizes[0]) < 2 or not large:
        return {"samples": len(large), "coherence": None}
    weighted = 0.0
    for name, size in large.items():
        members = (names == name).to_numpy()
        alone = sample[members].copy()
        add_neighbors(alone, n_neighbors=int(sample.uns["prepare"]["n_neighbors"]), random_state=random_state)
        run = _run(alone, method) if method else _as_run(_of_cells(observed.fit, members), alone)
        # without velocity genes nothing moves
        weighted += size * (score(run)["coherence"] or 0.0)
    return {"samples": len(large), "coherence": _number(weighted / sum(large.values()))}


def _of_cells(fit, members):
    return fit._replace(layers={name: values[:, members] for name, values in fit.layers.items()})


def permutations_within(groups, rng):
    """For each layer, from which cell every cell gets its counts: one of its own group, int (n_cells,)."""
    sources = {}
    for layer in LAYERS:
        sources[layer] = np.arange(len(groups))
        for group in np.unique(groups[groups >= 0]):
            members = np.flatnonzero(groups == group)
            sources[layer][members] = rng.permutation(members)
    return sources


def permuted(data, sources):
    """A copy of AnnData whose layers have the rows that `permutations_within` says."""
    moved = data.copy()
    for layer in LAYERS:
        moved.layers[layer] = data.layers[layer].tocsr()[sources[layer]].asformat(data.layers[layer].format)
    return moved


def thin(counts, rng):
    """Each molecule of a sparse matrix of whole numbers seen with probability `KEPT_COUNTS`."""
    kept = sparse.csr_matrix(counts, copy=True)
    kept.data = rng.binomial(kept.data.astype(np.int64), KEPT_COUNTS).astype(np.float32)
    kept.eliminate_zeros()
    return kept


def _prepared_like(sample, counts, random_state):
    """Cells and genes of a sample, prepared from other counts of them."""
    genes = counts.var_names.isin(sample.var_names)
    prepared = normalised(counts, genes, n_top_genes=genes.sum())
    if "PCs" in sample.varm:
        add_components(prepared, n_pcs=int(sample.uns["prepare"]["n_pcs"]), random_state=random_state)
    else:  # the user brought them, perhaps corrected for what those of these counts would show
        prepared.obsm["X_pca"] = sample.obsm["X_pca"]
    add_neighbors(prepared, n_neighbors=int(sample.uns["prepare"]["n_neighbors"]), random_state=random_state)
    return prepared


def _are_whole(counts):
    data = sparse.csr_matrix(counts).data
    return np.array_equal(data, np.rint(data))


def _run(prepared, method):
    """`Run` of a gene-wise method on a prepared dataset."""
    around = neighborhood(connectivity_weights(prepared.obsp["connectivities"]))
    layers = [sparse.csc_matrix(prepared.layers[layer], dtype=np.float32) for layer in LAYERS]
    block = GeneBlock(np.asarray(prepared.var_names), *layers, around)
    fit = methods.run(block, **method)
    try:
        chosen = methods.select(fit.genes, **method)
    except InputError as error:  # a control without velocity genes is a finding, not a failure
        log.info("%s", error)
        chosen = np.zeros(len(block.names), dtype=bool)
    return Run(fit, chosen, first_moments(layers[0], around), prepared.obsp["distances"])


def _as_run(fit, prepared):
    """`Run` of a fit that was made elsewhere of a prepared dataset."""
    around = neighborhood(connectivity_weights(prepared.obsp["connectivities"]))
    spliced = sparse.csc_matrix(prepared.layers["spliced"], dtype=np.float32)
    return Run(fit, fit.genes["velocity_genes"], first_moments(spliced, around), prepared.obsp["distances"])


def _scores(run, *, random_state, sqrt_transform, scale_genes):
    scores = {
        "velocity_genes": int(run.velocity_genes.sum()),
        "likelihood": None,
        "confidence": None,
        "coherence": None,
    }
    if not run.velocity_genes.any():
        return scores
    velocity, moments = (
        np.ascontiguousarray(layer[run.velocity_genes].T) for layer in (run.fit.layers["velocity"], run.spliced_moments)
    )
    if scale_genes:
        moments, velocity = scaled_to_range(moments, velocity)
    if "fit_likelihood" in run.fit.genes:
        scores["likelihood"] = _number(np.median(run.fit.genes["fit_likelihood"][run.velocity_genes]))
    scores["confidence"] = _number(np.nanmean(confidence_and_length(velocity, run.distances).confidence))
    scores["coherence"] = _number(
        gene_coherence(
            moments,
            velocity,
            run.distances,
            rng=np.random.default_rng(random_state),
            sqrt_transform=sqrt_transform,
        )
    )
    return scores


def _median_cosine(first, second):
    """Median over cells of the cosine of velocities in the velocity genes of both runs, None where there are none."""
    genes = first.velocity_genes & second.velocity_genes
    a, b = (run.fit.layers["velocity"][genes].astype(np.float64) for run in (first, second))
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    cosines = np.einsum("gc,gc->c", a, b)[lengths > 0] / lengths[lengths > 0]
    return _number(np.median(cosines)) if len(cosines) else None


def _surviving_variation(observed, permuted, groups):
    """Median over the velocity genes of the ratio of the velocities' variances within groups, permuted to observed."""
    genes = observed.velocity_genes
    spread = [_variance_within(run.fit.layers["velocity"][genes], groups) for run in (observed, permuted)]
    varies = spread[0] > 0
    # what permutation leaves nothing to fit of does not vary
    return _number(np.median(np.nan_to_num(spread[1][varies]) / spread[0][varies])) if varies.any() else None


def _variance_within(values, groups):
    """Mean over the cells of the squared distance to their group's mean, of each gene.  values : (n_genes, n_cells)."""
    values = values[:, groups >= 0]
    _, codes = np.unique(groups[groups >= 0], return_inverse=True)
    members = sparse.csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)))
    sums, sizes = values @ members, np.asarray(members.sum(axis=0)).ravel()
    return np.mean(values.astype(np.float64) ** 2, axis=1) - np.sum(sums**2 / sizes, axis=1) / len(codes)


def _share(part, whole):
    return None if part is None or not whole else part / whole


def _number(value):
    return float(value) if np.isfinite(value) else None
