"""The solver `compatible`: the stages of Bergen et al. (2020) as scVelo 0.3 runs them, to reproduce published fits."""

from veloshard.methods.dynamical.gene import SCALING, SWITCHING_TIME, Fitted, neighborhood_means
from veloshard.methods.dynamical.initial import initial_parameters
from veloshard.methods.dynamical.loss import curve_at, likelihood_and_variance
from veloshard.methods.dynamical.optimise import minimise
from veloshard.methods.dynamical.velocity import align, alignment_factor, fitted_velocity

COLUMNS = ("fit_pval_steady", "fit_steady_u", "fit_steady_s")


def fitter(block, unspliced, spliced, steady):
    """Function of a `Gene` and its number that fits it: its `Fitted`, or the reason why there is none.

    None of what is given of all genes is used but the neighborhoods: the solver knows a gene from its cells alone.
    """
    return lambda gene, k: _fit(gene, block.around)


def _fit(gene, around):
    start = initial_parameters(gene)
    found = minimise(gene, around, start.parameters)
    parameters, accepted_time = found.accepted.parameters, found.accepted.assignment.time
    likelihood, variance = likelihood_and_variance(gene, parameters, accepted_time, found.ratio)
    time = neighborhood_means(accepted_time, around)
    factor = alignment_factor(time, parameters[SWITCHING_TIME])
    aligned, time = align(parameters, factor), time * factor
    tau = found.current.assignment.tau * factor
    u, s = curve_at(time, aligned)
    return Fitted(
        gene=gene,
        parameters=aligned,
        factor=factor,
        likelihood=likelihood,
        variance=variance,
        time=time,
        tau=tau,
        place=(u * aligned[SCALING], s),
        velocity=fitted_velocity(gene, around, aligned, tau),
        columns=dict(zip(COLUMNS, (start.p_steady, start.steady_u, start.steady_s), strict=True)),
    )
