"""Solver `mixture`: expectation-maximization for a mixture over points along the curve, from several initial states.

The algorithm and its compiled functions are in `mixture_kernels`. This module computes noise and priors, runs the
algorithm from two initial switching times, and computes the columns and layers of the result.
"""

import math

import numpy as np

from veloshard.kinetics.methods.dynamical import mixture_kernels
from veloshard.kinetics.methods.dynamical.gene import (
    ALPHA,
    BETA,
    GAMMA,
    SCALING,
    SWITCHING_TIME,
    GeneFit,
    neighborhood_means,
)
from veloshard.kinetics.methods.dynamical.loss import likelihood_and_variance
from veloshard.kinetics.methods.dynamical.mixture_kernels import (
    LOG_NOISE,
    LOG_RATIO,
    LOG_S,
    LOG_SWITCH,
    LOG_U,
    N_POINTS,
    N_STATE,
)
from veloshard.kinetics.methods.dynamical.time_assignment import assign_times
from veloshard.kinetics.methods.dynamical.velocity import TOTAL_TIME, align
from veloshard.kinetics.splicing import spliced_at, unspliced_at
from veloshard.preprocessing.moments import sampling_variances

# Priors of the logarithms, (mean, precision), in units of the splicing time. The prior of gamma/beta is strong, a
# factor of 1.33 around one half, because the shape of a curve hardly distinguishes this ratio from the scaling. The
# direction of velocities depends only on their product, the slope of the steady state, whose prior mean is the slope
# of the steady-state model.
RATIO_PRIOR = (math.log(0.5), 12.0)


SWITCH_PRIOR = (math.log(2.0), 1.0)


SLOPE_PRECISION = 6.0


# Switching times of the initial states, in splicing times. All have the prior mean of gamma/beta.
START_SWITCHES = (1.0, 4.0)


# Widths of the bins, in standard deviations of the noise, on a subset of the cells and on all cells.
COARSE_BINS, FINE_BINS = 2.0, 1.0


# Iterations and cells before the initial states are compared.
START_ITERATIONS, START_CELLS = 2, 400


# Convergence on a subset of the cells, and on all cells: tolerance, number of cells, maximum number of iterations.
SUBSET_TOLERANCE, SUBSET_CELLS, SUBSET_ITERATIONS = 1e-2, 500, 20


TOLERANCE, MAX_ITERATIONS = 3e-3, 40


# A second initial state is fitted to convergence if its log posterior is within this distance of the better one.
MAX_POSTERIOR_DIFFERENCE = 1.0


# Lower bound of the standard deviation of moments, relative to their mean.
MIN_RELATIVE_NOISE = 0.01


# Duration of the process: half of a point's part of the curve is counted at this fraction of 1 / `N_POINTS` of cells.
HALF_OCCUPANCY = 0.1


# Initial noise variance. It is large, so that cells far from the initial curve have an effect on it.
START_NOISE = 16.0


# Standard errors of the logarithms. Precisions of the priors that express what is known of gamma/beta and of the slope
# of the steady state; those of the fit are higher, to stabilize it. Lower bound of the posterior precision. And errors
# that the curvature does not include, set by the coverage of intervals (benchmarks/README.md): of the duration of the
# process in splicing times, which sets the common time, and of ratios of counts, which are normalized and averaged.
ERROR_RATIO_PRECISION, ERROR_SLOPE_PRECISION, MIN_PRECISION = 3.0, 1.0, 1.0


DURATION_ERROR, RATIO_ERROR = 0.35, 0.3


COLUMNS = (
    "fit_noise",
    "fit_iterations",
    "fit_gradient",
    "fit_spread",
    "fit_bound",
    "fit_alpha_error",
    "fit_beta_error",
    "fit_gamma_error",
    "fit_t__error",
    "fit_ratio_error",
)


def fitter(block, unspliced, spliced, steady):
    """Return a function that fits a `Gene`, given the gene and its index: a `GeneFit`, or why there is none.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    unspliced, spliced : ndarray of float32, shape (n_genes, n_cells)
        First moments.
    steady : ndarray of float, shape (n_genes,)
        Steady-state ratios.

    Returns
    -------
    callable
        Function of a `Gene` and its row, which returns a `GeneFit` or a str.
    """
    noise = [
        _noise_units(counts, means, block.neighborhood)
        for counts, means in ((block.unspliced, unspliced), (block.spliced, spliced))
    ]
    # a count is in as many moments as there are cells in a neighborhood, on average
    cells_per_observation = len(block.neighborhood.indices) / spliced.shape[1]

    def fit_gene(gene, k):
        units = (noise[0][k], noise[1][k])
        # the most expressed cells may have no unspliced counts
        slope = steady[k] if steady[k] > 0 else unspliced[k].sum() / spliced[k].sum()
        slope_prior = (math.log(slope), SLOPE_PRECISION)
        prior = mixture_kernels.Prior(RATIO_PRIOR, SWITCH_PRIOR, slope_prior, cells_per_observation)
        return _fit(gene, block.neighborhood, units, prior)

    return fit_gene


def _noise_units(counts, moments, neighborhood):
    """Return the sampling variance of a moment of 1, (n_genes,), with variances proportional to the means."""
    level = np.maximum(moments.mean(axis=1, dtype=np.float64), np.finfo(float).tiny)
    # cells without neighbors have an estimated sampling variance of 0
    return np.maximum(sampling_variances(counts, moments, neighborhood) / level, MIN_RELATIVE_NOISE**2 * level)


def _fit(gene, neighborhood, units, prior):
    u, s = gene.unspliced, gene.spliced
    start, spread = _fit_subset(gene, neighborhood, units, prior)
    binned = mixture_kernels.bin_cells(u, s, units, FINE_BINS)
    state, n_iterations = mixture_kernels.run_em(
        start, binned, neighborhood, units, prior, 1, TOLERANCE, MAX_ITERATIONS
    )
    odds = mixture_kernels.log_odds(state, binned, units)
    branch_counts = mixture_kernels.smoothed_branch_counts(odds, binned, neighborhood, 1)
    _, _, gradient = mixture_kernels.gauss_newton_step(state, binned, branch_counts, units, prior)
    expected = mixture_kernels.expected_state(state, u, s, neighborhood, units)
    duration = mixture_kernels.process_duration(state, binned, branch_counts, units, HALF_OCCUPANCY / N_POINTS)
    shape = state[:LOG_NOISE]
    if not (np.isfinite(state).all() and 0 < duration < math.inf):
        return "the fit left no finite parameters"

    parameters = np.empty(5)
    parameters[ALPHA], parameters[BETA], parameters[GAMMA] = math.exp(shape[LOG_S]), 1.0, math.exp(shape[LOG_RATIO])
    parameters[SWITCHING_TIME], parameters[SCALING] = math.exp(shape[LOG_SWITCH]), math.exp(shape[LOG_U] - shape[LOG_S])
    factor = TOTAL_TIME / duration
    velocities = (np.maximum(expected.ds / factor, -s), np.maximum(expected.du / factor, -u))
    # gene times are those of solver `scvelo` at these parameters, including its steady states
    assignment = assign_times(gene, neighborhood, parameters, True)
    aligned, time = align(parameters, factor), neighborhood_means(assignment.time, neighborhood) * factor
    likelihood, variance = likelihood_and_variance(gene, aligned, time, math.nan)
    return GeneFit(
        gene=gene,
        parameters=aligned,
        factor=factor,
        likelihood=likelihood,
        variance=variance,
        time=time,
        tau=assignment.tau * factor,
        fitted_abundances=(expected.u, expected.s),
        velocity=tuple(np.where(expected.transient, velocity, 0.0) for velocity in velocities),
        columns={
            "fit_noise": math.exp(state[LOG_NOISE]),
            "fit_iterations": float(n_iterations),
            "fit_gradient": float(np.linalg.norm(gradient)),
            "fit_spread": spread,
            "fit_bound": float(
                np.any((shape <= mixture_kernels.LOWER_BOUNDS) | (shape >= mixture_kernels.UPPER_BOUNDS))
            ),
            **_standard_errors(
                mixture_kernels.negative_hessian(state, binned, branch_counts, units, _prior_of_errors(prior))
            ),
        },
    )


def _fit_subset(gene, neighborhood, units, prior):
    """Return the best state on a subset of the cells, and its difference from that of the other initial state.

    The difference is the largest one of a logarithm of the shape, and 0 if only one initial state was fitted to
    convergence.
    """
    n_cells = len(gene.spliced)
    max_u, max_s = gene.unspliced[gene.fitted].max(), gene.spliced[gene.fitted].max()
    starts = [_initial_state(max_u, max_s, switch) for switch in START_SWITCHES]
    stride = max(n_cells // START_CELLS, 1)
    binned = mixture_kernels.bin_cells(gene.unspliced, gene.spliced, units, COARSE_BINS)
    candidates = [_run_em(start, binned, neighborhood, units, prior, stride, 0.0, START_ITERATIONS) for start in starts]
    highest = max(log_posterior for log_posterior, _ in candidates)
    stride = max(n_cells // SUBSET_CELLS, 1)
    converged = [
        _run_em(state, binned, neighborhood, units, prior, stride, SUBSET_TOLERANCE, SUBSET_ITERATIONS)
        for log_posterior, state in candidates
        if log_posterior > highest - MAX_POSTERIOR_DIFFERENCE
    ]
    _, best = max(converged, key=lambda candidate: candidate[0])
    spread = max(np.max(np.abs(state[:LOG_NOISE] - best[:LOG_NOISE])) for _, state in converged)
    return best, float(spread)


def _run_em(state, binned, neighborhood, units, prior, stride, tolerance, max_iterations):
    """Return the log posterior, scaled to all cells, and the state after `mixture_kernels.run_em` on a subset."""
    prior = prior._replace(cells_per_observation=prior.cells_per_observation / stride)
    state, _ = mixture_kernels.run_em(state, binned, neighborhood, units, prior, stride, tolerance, max_iterations)
    odds = mixture_kernels.log_odds(state, binned, units)
    branch_counts = mixture_kernels.smoothed_branch_counts(odds, binned, neighborhood, stride)
    return mixture_kernels.gauss_newton_step(state, binned, branch_counts, units, prior)[1], state


def _initial_state(max_u, max_s, switch):
    """Return the state of a curve through the most expressed cells at the switching time, with equal weights."""
    ratio = math.exp(RATIO_PRIOR[0])
    state = np.full(N_STATE, 1.0 / N_POINTS)
    state[LOG_U] = math.log(max_u / unspliced_at(switch, 0.0, 1.0, 1.0))
    state[LOG_S] = math.log(max_s / spliced_at(switch, 0.0, 0.0, 1.0, 1.0, ratio))
    state[LOG_RATIO], state[LOG_SWITCH] = math.log(ratio), math.log(switch)
    state[LOG_NOISE] = math.log(START_NOISE)
    return state


def _prior_of_errors(prior):
    """Return the prior with the precisions for standard errors, which are lower than those of the fit."""
    return prior._replace(ratio=(prior.ratio[0], ERROR_RATIO_PRECISION), slope=(prior.slope[0], ERROR_SLOPE_PRECISION))


def _standard_errors(negative_hessian):
    """Return the standard errors of the logarithms of the parameters, by the columns' names."""
    precision, directions = np.linalg.eigh(negative_hessian)
    # no direction is less certain than a priori
    covariance = (directions / np.maximum(precision, MIN_PRECISION)) @ directions.T
    # coefficients of each parameter's logarithm in the shape, and its error that the curvature does not include
    parameters = {
        "fit_alpha_error": ((0.0, 1.0, 0.0, 0.0), DURATION_ERROR),
        "fit_beta_error": ((-1.0, 1.0, 0.0, 0.0), DURATION_ERROR),
        "fit_gamma_error": ((0.0, 0.0, 1.0, 0.0), DURATION_ERROR),
        # an error in the duration scales the switching time and the unit of time alike
        "fit_t__error": ((0.0, 0.0, 0.0, 1.0), 0.0),
        "fit_ratio_error": ((1.0, -1.0, 1.0, 0.0), RATIO_ERROR),
    }
    return {
        name: math.sqrt(np.dot(coefficients, covariance @ coefficients) + constant**2)
        for name, (coefficients, constant) in parameters.items()
    }
