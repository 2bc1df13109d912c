"""Solver `scvelo`: the optimization stages of Bergen et al. (2020) as in scVelo 0.3, to reproduce published fits."""

from veloshard.kinetics.methods.dynamical.gene import SCALING, SWITCHING_TIME, GeneFit, neighborhood_means
from veloshard.kinetics.methods.dynamical.initialization import initial_parameters
from veloshard.kinetics.methods.dynamical.loss import curve_at, likelihood_and_variance
from veloshard.kinetics.methods.dynamical.optimization import minimize
from veloshard.kinetics.methods.dynamical.velocity import align, alignment_factor, fitted_velocity

COLUMNS = ("fit_pval_steady", "fit_steady_u", "fit_steady_s")


def fitter(block, unspliced, spliced, steady):
    """Return a function that fits a `Gene`, given the gene and its index: a `GeneFit`, or why there is none.

    Takes the same arguments as `mixture.fitter`, of which this solver uses only the neighborhoods of `block`.
    """
    return lambda gene, k: _fit(gene, block.neighborhood)


def _fit(gene, neighborhood):
    start = initial_parameters(gene)
    optimum = minimize(gene, neighborhood, start.parameters)
    parameters, accepted_time = optimum.accepted.parameters, optimum.accepted.assignment.time
    likelihood, variance = likelihood_and_variance(gene, parameters, accepted_time, optimum.ratio)
    time = neighborhood_means(accepted_time, neighborhood)
    factor = alignment_factor(time, parameters[SWITCHING_TIME])
    aligned, time = align(parameters, factor), time * factor
    tau = optimum.current.assignment.tau * factor
    u, s = curve_at(time, aligned)
    return GeneFit(
        gene=gene,
        parameters=aligned,
        factor=factor,
        likelihood=likelihood,
        variance=variance,
        time=time,
        tau=tau,
        fitted_abundances=(u * aligned[SCALING], s),
        velocity=fitted_velocity(gene, neighborhood, aligned, tau),
        columns=dict(zip(COLUMNS, (start.p_steady, start.steady_u, start.steady_s), strict=True)),
    )
