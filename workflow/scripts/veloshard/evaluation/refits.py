"""Refits of a method on negative controls, and scores of the refits."""

import logging
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.contract import Fit, GeneBlock
from veloshard.errors import InputError
from veloshard.evaluation.negative_controls import CONTROLS, make_negative_control
from veloshard.evaluation.split_half_coherence import split_half_coherence
from veloshard.graph.confidence import compute_confidence
from veloshard.graph.velocity_graph import scale_to_range
from veloshard.io.readers.common import LAYERS
from veloshard.kinetics import methods
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.moments import first_moments
from veloshard.preprocessing.neighbors import add_neighbors

log = logging.getLogger(__name__)


# scores whose ratio between permuted and observed counts is reported
SURVIVING = ("likelihood", "confidence", "split_half_coherence")


# column of `obs` with the sample of each cell
SAMPLE = "sample"


# number of cells of a sample that has a fit of its own
MIN_CELLS_OF_SAMPLE = 200


class Refit(NamedTuple):
    """Fit of a method, and the data that its scores require.

    Attributes
    ----------
    fit : veloshard.contract.Fit
        Fit of the prepared genes.
    velocity_genes : ndarray of bool, shape (n_genes,)
        Velocity genes.
    spliced_moments : ndarray of float32, shape (n_genes, n_cells)
        Moments of all genes.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph.
    """

    fit: Fit
    velocity_genes: np.ndarray
    spliced_moments: np.ndarray
    distances: sparse.csr_matrix


def run_negative_controls(
    counts,
    subsample,
    *,
    groups,
    method,
    references=(),
    sqrt_transform,
    scale_genes=False,
    random_state=0,
    model_fits=None,
    key="model_fits",
):
    """Return the scores of a method on the observed counts, on negative controls, within samples, and of other methods.

    `permuted` is the null control: unspliced and spliced counts are permuted separately among the cells of each group.
    Groups keep their mean counts, and all dependence within groups is removed. In `thinned`, each molecule is kept with
    a probability of one half, and neighbors are computed from the remaining counts.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts of the cells of the subsample, of all genes.
    subsample : AnnData, shape (n_cells, n_prepared_genes)
        Prepared cells of `draw_subsample`.
    groups : ndarray of int, shape (n_cells,)
        Groups of `permutation_groups`.
    method : dict
        Options of the method, with its name as `method`.
    references : sequence of str
        Names of gene-wise methods with which the velocities are compared.
    sqrt_transform, scale_genes : bool
        Options of the method's velocity graph.
    random_state : int
        Seed of all random numbers.
    model_fits : dict of str to Fit or str, optional
        For a method that is not refitted here, its fits with the column `velocity_genes`. `observed` is the fit of the
        subsample. The others are fits of negative controls by their name in `CONTROLS`. For a control on which the
        model failed, the value is a sentence with the reason.
    key : str
        Name of the option that lists the controls for models, for the reason of a control without a fit. Empty if the
        method cannot be run on a control.

    Returns
    -------
    dict
        Numbers that can be written as JSON, None where they are not available.

        `cells`
            Number of cells.
        `observed`, `permuted`, `thinned`
            `velocity_genes`, their number; `likelihood`, the median over the velocity genes; `confidence`, the mean
            over cells; `split_half_coherence`. `permuted` and `thinned` have also `cosine`, the median over cells of
            the cosine with the observed velocities, and `permuted` has `variation`, the median over genes of the ratio
            of the velocities' variance within groups, permuted to observed. A control that was not run has only
            `reason`.
        `survives`
            Ratio of permuted to observed for the scores in `SURVIVING`.
        `samples`
            `samples`, the number of samples with at least `MIN_CELLS_OF_SAMPLE` cells, and `split_half_coherence`, the
            mean over them weighted by cells. Each sample has its own fit. For `model_fits`, it is the cells of the
            sample in the observed fit. The coherence is None for a single sample. Differences between samples, such as
            those of chemistries, give all genes velocities from one sample to another.
        `methods`
            Median over cells of the cosine with the velocities of each other method of `references` with default
            options, in the velocity genes of both.
    """
    score = partial(_score, random_state=random_state, sqrt_transform=sqrt_transform, scale_genes=scale_genes)
    observed = refit_method(subsample, method) if model_fits is None else _as_refit(model_fits["observed"], subsample)
    scores = {"cells": subsample.n_obs, "observed": score(observed)}
    scores["samples"] = _score_within_samples(subsample, None if model_fits else method, observed, score, random_state)
    log.info("observed: %s; within samples: %s", scores["observed"], scores["samples"])

    for control in CONTROLS:
        model_fit = None
        if model_fits is not None:
            model_fit = model_fits.get(control, _reason_without_fit(control, key))
        if isinstance(model_fit, str):
            scores[control] = {"reason": model_fit}
            continue
        try:
            data, _ = make_negative_control(
                counts, subsample, control=control, groups=groups, random_state=random_state
            )
        except InputError as error:
            scores[control] = {"reason": str(error)}
            continue
        refit = refit_method(data, method) if model_fit is None else _as_refit(model_fit, data)
        scores[control] = {**score(refit), "cosine": _median_cosine(observed, refit)}
        if control == "permuted":
            scores[control]["variation"] = _variance_ratio(observed, refit, groups)
        log.info("%s: %s", control, scores[control])
    scores["survives"] = {name: _ratio(scores["permuted"].get(name), scores["observed"][name]) for name in SURVIVING}

    others = [name for name in references if name != method["method"]]
    scores["methods"] = {name: _median_cosine(observed, refit_method(subsample, {"method": name})) for name in others}
    return scores


def refit_method(prepared, method):
    """Return the fit of a gene-wise method on a prepared dataset.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Prepared dataset.
    method : dict
        Options of the method, with its name as `method`.

    Returns
    -------
    Refit
        Fit of all genes. The mask of velocity genes is empty if there are too few of them.
    """
    neighborhood = as_neighborhood(averaging_weights(prepared.obsp["connectivities"]))
    layers = [sparse.csc_matrix(prepared.layers[layer], dtype=np.float32) for layer in LAYERS]
    block = GeneBlock(np.asarray(prepared.var_names), *layers, neighborhood)
    fit = methods.run(block, **method)
    try:
        velocity_genes = methods.select(fit.genes, **method)
    except InputError as error:  # a control without velocity genes is a result, not a failure
        log.info("%s", error)
        velocity_genes = np.zeros(len(block.names), dtype=bool)
    return Refit(fit, velocity_genes, first_moments(layers[0], neighborhood), prepared.obsp["distances"])


def _reason_without_fit(control, key):
    """Return why there is no fit of a control."""
    if not key:
        return "precomputed velocities cannot be computed again on this control"
    return f"the model was not run on this control: add {control!r} to {key}"


def _as_refit(fit, prepared):
    """Return the `Refit` of a model's fit of a prepared dataset."""
    neighborhood = as_neighborhood(averaging_weights(prepared.obsp["connectivities"]))
    spliced = sparse.csc_matrix(prepared.layers["spliced"], dtype=np.float32)
    return Refit(fit, fit.genes["velocity_genes"], first_moments(spliced, neighborhood), prepared.obsp["distances"])


def _score_within_samples(subsample, method, observed, score, random_state):
    """Return the number of large samples and the coherence of their fits, or of the observed fit without a method."""
    names = subsample.obs.get(SAMPLE, default="")
    sizes = np.unique(names, return_counts=True)
    large = {name: size for name, size in zip(*sizes, strict=True) if size >= MIN_CELLS_OF_SAMPLE}
    if len(sizes[0]) < 2 or not large:
        return {"samples": len(large), "split_half_coherence": None}
    weighted = 0.0
    for name, size in large.items():
        cells = (names == name).to_numpy()
        sample = subsample[cells].copy()
        add_neighbors(sample, n_neighbors=int(subsample.uns["prepare"]["n_neighbors"]), random_state=random_state)
        refit = refit_method(sample, method) if method else _as_refit(_select_cells(observed.fit, cells), sample)
        # a sample without velocity genes has no motion
        weighted += size * (score(refit)["split_half_coherence"] or 0.0)
    return {"samples": len(large), "split_half_coherence": _finite_or_none(weighted / sum(large.values()))}


def _select_cells(fit, cells):
    return fit._replace(layers={name: values[:, cells] for name, values in fit.layers.items()})


def _score(refit, *, random_state, sqrt_transform, scale_genes):
    scores = {
        "velocity_genes": int(refit.velocity_genes.sum()),
        "likelihood": None,
        "confidence": None,
        "split_half_coherence": None,
    }
    if not refit.velocity_genes.any():
        return scores
    velocity, moments = (
        np.ascontiguousarray(layer[refit.velocity_genes].T)
        for layer in (refit.fit.layers["velocity"], refit.spliced_moments)
    )
    if scale_genes:
        moments, velocity = scale_to_range(moments, velocity)
    if "fit_likelihood" in refit.fit.genes:
        scores["likelihood"] = _finite_or_none(np.median(refit.fit.genes["fit_likelihood"][refit.velocity_genes]))
    scores["confidence"] = _finite_or_none(np.nanmean(compute_confidence(velocity, refit.distances).confidence))
    scores["split_half_coherence"] = _finite_or_none(
        split_half_coherence(
            moments,
            velocity,
            refit.distances,
            rng=np.random.default_rng(random_state),
            sqrt_transform=sqrt_transform,
        )
    )
    return scores


def _median_cosine(first, second):
    """Return the median over cells of the cosine in the velocity genes of both refits, None without such cells."""
    genes = first.velocity_genes & second.velocity_genes
    a, b = (refit.fit.layers["velocity"][genes].astype(np.float64) for refit in (first, second))
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    cosines = np.einsum("gc,gc->c", a, b)[lengths > 0] / lengths[lengths > 0]
    return _finite_or_none(np.median(cosines)) if len(cosines) else None


def _variance_ratio(observed, permuted, groups):
    """Return the median over the velocity genes of the variance within groups, permuted divided by observed."""
    genes = observed.velocity_genes
    variances = [_variance_within_groups(refit.fit.layers["velocity"][genes], groups) for refit in (observed, permuted)]
    varies = variances[0] > 0
    # a gene that could not be fitted after permutation has a variance of 0
    ratios = np.nan_to_num(variances[1][varies]) / variances[0][varies]
    return _finite_or_none(np.median(ratios)) if varies.any() else None


def _variance_within_groups(values, groups):
    """Return the mean squared distance of cells to their group's mean for each gene of `values` (n_genes, n_cells)."""
    values = values[:, groups >= 0]
    _, codes = np.unique(groups[groups >= 0], return_inverse=True)
    members = sparse.csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)))
    sums, sizes = values @ members, np.asarray(members.sum(axis=0)).ravel()
    return np.mean(values.astype(np.float64) ** 2, axis=1) - np.sum(sums**2 / sizes, axis=1) / len(codes)


def _ratio(permuted, observed):
    return None if permuted is None or not observed else permuted / observed


def _finite_or_none(value):
    return float(value) if np.isfinite(value) else None
