"""The solver `converged`: the curve of a gene by a mixture (see `mixture`), from several starts to a tolerance."""

import math

import numpy as np

from veloshard.methods.dynamical import mixture
from veloshard.methods.dynamical.assign import assign_times
from veloshard.methods.dynamical.gene import (
    ALPHA,
    BETA,
    GAMMA,
    SCALING,
    SWITCHING_TIME,
    Fitted,
    neighborhood_means,
)
from veloshard.methods.dynamical.loss import likelihood_and_variance
from veloshard.methods.dynamical.mixture import (
    LOG_NOISE,
    LOG_RATIO,
    LOG_S,
    LOG_SWITCH,
    LOG_U,
    N_POINTS,
    N_STATE,
)
from veloshard.methods.dynamical.velocity import TOTAL_TIME, align
from veloshard.moments import sampling_variances
from veloshard.splicing import spliced_at, unspliced_at

# Priors of the logarithms, (mean, precision), in the unit of the splicing time.  That of gamma/beta is firm, a factor
# of 1.33 about one half: a curve's shape tells it badly from the scaling, and only their product, the slope of the
# steady state, decides directions.  That slope is expected where the steady-state model has it.
RATIO_PRIOR = (math.log(0.5), 12.0)
SWITCH_PRIOR = (math.log(2.0), 1.0)
SLOPE_PRECISION = 6.0
# Switching times of the starts, splicing times; all start from the expected gamma/beta.
SWITCHES = (1.0, 4.0)
# Bins, in units of noise, while fits come near and when they are there.
COARSE, FINE = 2.0, 1.0
# Turns that starts get before they are compared, and cells.
START_TURNS, START_CELLS = 2, 400
# A fit: largest move at which it has converged, most turns, and cells to come near.
TOLERANCE, MOST_TURNS = 3e-3, 40
NEAR_TOLERANCE, NEAR_CELLS, NEAR_TURNS = 1e-2, 500, 20
# A second start is followed to its end if its log posterior came as near as this to the best one's.
RIVAL = 1.0
# Moments are never known better than to this share of them.
LEAST_NOISE = 0.01
# A part of the curve counts as travelled by the share of an even spread of cells over all points that is there.
TRAVELLED = 0.1
# Noise variance at which fits start: the cells must see the curve from afar.
START_NOISE = 16.0
# Standard errors of logarithms.  How far gamma/beta and the steady state's slope are known without the data, precisions
# that are honest where those of the fit are firm.  And the errors that no curvature tells, by how often intervals cover
# the truth (benchmarks/README.md): of the length of a process in splicing times, which makes those a common time, and
# of a ratio of counts, which were normalised and averaged.
HONEST_RATIO, HONEST_SLOPE, LEAST_PRECISION = 3.0, 1.0, 1.0
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
    """Function of a `Gene` and its number that fits it: its `Fitted`, or the reason why there is none.

    unspliced, spliced : (n_genes, n_cells) float32, moments.   steady : (n_genes,), the steady-state ratios.
    """
    noise = [
        _noise_units(counts, means, block.around)
        for counts, means in ((block.unspliced, unspliced), (block.spliced, spliced))
    ]
    repeats = len(block.around.indices) / spliced.shape[1]

    def fit_gene(gene, k):
        units = (noise[0][k], noise[1][k])
        # the most expressed cells may have no unspliced counts
        slope = steady[k] if steady[k] > 0 else unspliced[k].sum() / spliced[k].sum()
        slope_prior = (math.log(slope), SLOPE_PRECISION)
        prior = mixture.Prior(RATIO_PRIOR, SWITCH_PRIOR, slope_prior, repeats)
        return _fit(gene, block.around, units, prior)

    return fit_gene


def _noise_units(counts, moments, around):
    """Sampling variance of a moment of 1, as for counts, of each gene: (n_genes,)."""
    level = np.maximum(moments.mean(axis=1, dtype=np.float64), np.finfo(float).tiny)
    # no counts are without noise, not even those of cells without neighbors
    return np.maximum(sampling_variances(counts, moments, around) / level, LEAST_NOISE**2 * level)


def _fit(gene, around, units, prior):
    u, s = gene.unspliced, gene.spliced
    near, spread = _near(gene, around, units, prior)
    sample = mixture.bin_cells(u, s, units, FINE)
    state, turns = mixture.climb(near, sample, around, units, prior, 1, TOLERANCE, MOST_TURNS)
    counted = mixture.vote(mixture.log_odds(state, sample, units), sample, around, 1)
    _, _, gradient = mixture.advance(state, sample, counted, units, prior)
    located = mixture.locate(state, u, s, around, units)
    total = mixture.duration(state, sample, counted, units, TRAVELLED / N_POINTS)
    shape = state[:LOG_NOISE]
    if not (np.isfinite(state).all() and 0 < total < math.inf):
        return "the fit left no finite parameters"

    parameters = np.empty(5)
    parameters[ALPHA], parameters[BETA], parameters[GAMMA] = math.exp(shape[LOG_S]), 1.0, math.exp(shape[LOG_RATIO])
    parameters[SWITCHING_TIME], parameters[SCALING] = math.exp(shape[LOG_SWITCH]), math.exp(shape[LOG_U] - shape[LOG_S])
    factor = TOTAL_TIME / total
    slopes = (np.maximum(located.ds / factor, -s), np.maximum(located.du / factor, -u))
    # times by the rule of the other solver too, which knows of steady states
    assigned = assign_times(gene, around, parameters, True)
    aligned, time = align(parameters, factor), neighborhood_means(assigned.time, around) * factor
    likelihood, variance = likelihood_and_variance(gene, aligned, time, math.nan)
    return Fitted(
        gene=gene,
        parameters=aligned,
        factor=factor,
        likelihood=likelihood,
        variance=variance,
        time=time,
        tau=assigned.tau * factor,
        place=(located.u, located.s),
        velocity=tuple(np.where(located.moves, slope, 0.0) for slope in slopes),
        columns={
            "fit_noise": math.exp(state[LOG_NOISE]),
            "fit_iterations": float(turns),
            "fit_gradient": float(np.linalg.norm(gradient)),
            "fit_spread": spread,
            "fit_bound": float(np.any((shape <= mixture.LOWEST) | (shape >= mixture.HIGHEST))),
            **_errors(mixture.curvature(state, sample, counted, units, _honest(prior))),
        },
    )


def _near(gene, around, units, prior):
    """State near the best optimum, found on some of the cells, and by how much rivals' parameters differ from its.

    The difference is the largest one of a logarithm; 0 where no other start came near in posterior.
    """
    n_cells = len(gene.spliced)
    most_u, most_s = gene.unspliced[gene.fitted].max(), gene.spliced[gene.fitted].max()
    starts = [_start(most_u, most_s, switch) for switch in SWITCHES]
    every = max(n_cells // START_CELLS, 1)
    sample = mixture.bin_cells(gene.unspliced, gene.spliced, units, COARSE)
    climbed = [_climb(start, sample, around, units, prior, every, 0.0, START_TURNS) for start in starts]
    best = max(height for height, _ in climbed)
    every = max(n_cells // NEAR_CELLS, 1)
    ends = [
        _climb(state, sample, around, units, prior, every, NEAR_TOLERANCE, NEAR_TURNS)
        for height, state in climbed
        if height > best - RIVAL
    ]
    height, best = max(ends, key=lambda end: end[0])
    spread = max(np.max(np.abs(end[:LOG_NOISE] - best[:LOG_NOISE])) for _, end in ends)
    return best, float(spread)


def _climb(state, sample, around, units, prior, every, tolerance, most):
    """Log posterior, of all cells, and state where `mixture.climb` ends on each so many-th cell."""
    of_these = prior._replace(repeats=prior.repeats / every)
    state, _ = mixture.climb(state, sample, around, units, of_these, every, tolerance, most)
    counted = mixture.vote(mixture.log_odds(state, sample, units), sample, around, every)
    return mixture.advance(state, sample, counted, units, of_these)[1], state


def _start(most_u, most_s, switch):
    """State of a curve through the most expressed cells when transcription stops, at an even spread of cells."""
    ratio = math.exp(RATIO_PRIOR[0])
    state = np.full(N_STATE, 1.0 / N_POINTS)
    state[LOG_U] = math.log(most_u / unspliced_at(switch, 0.0, 1.0, 1.0))
    state[LOG_S] = math.log(most_s / spliced_at(switch, 0.0, 0.0, 1.0, 1.0, ratio))
    state[LOG_RATIO], state[LOG_SWITCH] = math.log(ratio), math.log(switch)
    state[LOG_NOISE] = math.log(START_NOISE)
    return state


def _honest(prior):
    """The prior as firm as it is known, not as the fit has it to tell gamma/beta from the scaling."""
    return prior._replace(ratio=(prior.ratio[0], HONEST_RATIO), slope=(prior.slope[0], HONEST_SLOPE))


def _errors(curvature):
    """Standard errors of the logarithms of the reported parameters, from minus the second derivatives by the shape."""
    precision, directions = np.linalg.eigh(curvature)
    # nothing is known worse than a prior has it
    covariance = (directions / np.maximum(precision, LEAST_PRECISION)) @ directions.T
    # what each parameter is of the shape's logarithms, and the error that it has anyway
    parameters = {
        "fit_alpha_error": ((0.0, 1.0, 0.0, 0.0), DURATION_ERROR),
        "fit_beta_error": ((-1.0, 1.0, 0.0, 0.0), DURATION_ERROR),
        "fit_gamma_error": ((0.0, 0.0, 1.0, 0.0), DURATION_ERROR),
        # what a longer process does to the unit it does to the switch: the error cancels
        "fit_t__error": ((0.0, 0.0, 0.0, 1.0), 0.0),
        "fit_ratio_error": ((1.0, -1.0, 1.0, 0.0), RATIO_ERROR),
    }
    return {name: math.sqrt(np.dot(way, covariance @ way) + least**2) for name, (way, least) in parameters.items()}
