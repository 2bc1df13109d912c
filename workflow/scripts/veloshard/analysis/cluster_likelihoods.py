"""Likelihood of the fitted splicing kinetics of each gene within each cluster."""

import math

import numpy as np

from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, describe_gene
from veloshard.kinetics.methods.dynamical.loss import signed_variance
from veloshard.kinetics.methods.dynamical.time_assignment import (
    OFF,
    ON,
    STEADY_OFF,
    branch_distances,
    likeliest_states,
    switching_state,
)
from veloshard.kinetics.splicing import spliced_at

# columns of the genes that hold the parameters of the kinetics
PARAMETER_COLUMNS = {
    ALPHA: "fit_alpha",
    BETA: "fit_beta",
    GAMMA: "fit_gamma",
    SWITCHING_TIME: "fit_t_",
    SCALING: "fit_scaling",
}


def cluster_likelihoods(genes, *, unspliced, spliced, tau, codes, n_clusters, neighborhood):
    """Return the likelihood of each gene's fitted kinetics within each cluster.

    The likelihood is exp(-d / (2 v)) / sqrt(2 pi v), as scVelo uses it to rank genes. d is the mean squared distance
    of the cluster's cells to the curve, and v is the variance of the signed distances of all cells. Both are over
    cells whose unspliced and spliced moments exceed a fifth of the gene's maxima. The branch of a cell is the most
    likely one for its neighborhood.

    Parameters
    ----------
    genes : dict of str to ndarray, shape (n_genes,)
        Columns of a dynamical fit, among them `PARAMETER_COLUMNS`.
    unspliced, spliced : ndarray of float32, shape (n_genes, n_cells)
        First moments.
    tau : ndarray of float, shape (2, n_genes, n_cells)
        Time of each cell since the start of repression (`OFF`) and since the start of induction (`ON`).
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label. These enter the variance only.
    n_clusters : int
        Number of clusters.
    neighborhood : Neighborhood
        Averaging weights of the cells.

    Returns
    -------
    ndarray of float64, shape (n_clusters, n_genes)
        NaN for genes without a fit, and where fewer than a fifth of the cluster's cells exceed the bounds. There scVelo
        uses the largest distance of all genes.
    """
    likelihoods = np.full((n_clusters, len(spliced)), np.nan)
    cluster_sizes = np.bincount(codes[codes >= 0], minlength=n_clusters)
    parameters = np.empty((len(spliced), len(PARAMETER_COLUMNS)))
    parameters[:, list(PARAMETER_COLUMNS)] = np.stack([genes[column] for column in PARAMETER_COLUMNS.values()], axis=1)
    # the column `fit_beta` is in the unit of the unspliced counts, the model's beta in that of the spliced counts
    parameters[:, BETA] *= parameters[:, SCALING]
    for k in np.flatnonzero(np.isfinite(parameters).all(axis=1)):
        gene = describe_gene(unspliced[k], spliced[k], neighborhood)
        squares, residuals = _distances_to_curve(gene, parameters[k], tau[:, k].astype(np.float64), neighborhood)
        is_high = (gene.unspliced > gene.unspliced.max() / 5) & (gene.spliced > gene.spliced.max() / 5)
        variance = signed_variance(squares[is_high], residuals[is_high]) if is_high.any() else 0.0
        if variance == 0:
            continue
        cells = np.flatnonzero(is_high & (codes >= 0))
        n_cells = np.bincount(codes[cells], minlength=n_clusters)
        sum_of_squares = np.bincount(codes[cells], weights=squares[cells], minlength=n_clusters)
        # scVelo's correction for the fitted parameters: 1 % of the cluster's cells
        n_effective = np.maximum(n_cells - 0.01 * cluster_sizes, 2)
        likelihood = np.exp(-0.5 * sum_of_squares / n_effective / variance) / math.sqrt(2 * math.pi * variance)
        is_expressed = (n_cells > 0) & (n_effective >= 0.99 * cluster_sizes / 5)
        likelihoods[:, k] = np.where(is_expressed, likelihood, np.nan)
    return likelihoods


def _distances_to_curve(gene, parameters, tau, neighborhood):
    """Return the squared standardized distances of cells to their branch, and their residuals of s: two (n_cells,)."""
    alpha, beta, gamma = parameters[[ALPHA, BETA, GAMMA]]
    distances = branch_distances(gene, parameters, tau)
    states, _ = likeliest_states(gene, neighborhood, parameters, distances)
    u0, s0 = switching_state(parameters)
    # induction starts at the steady state without transcription
    in_induction = (states == ON) | (states == STEADY_OFF)
    fitted_spliced = np.where(
        in_induction,
        spliced_at(tau[ON], 0.0, 0.0, alpha, beta, gamma),
        spliced_at(tau[OFF], s0, u0, 0.0, beta, gamma),
    )
    return np.where(in_induction, distances[ON], distances[OFF]), gene.spliced - fitted_spliced
