"""The dynamical model (Bergen et al. 2020): splicing kinetics of each gene, by one of two solvers.

A gene is transcribed at rate alpha from time 0 to a switching time (induction) and not after it (repression). The
splicing rate beta and the degradation rate gamma are constant. Unspliced counts are observed on another scale than
spliced counts, by the factor `scaling`.

Solver `mixture` is an expectation-maximization algorithm for a mixture over points along the curve, with sampling noise
that is computed from the counts. It averages over the time of a cell and iterates to convergence. Solver `scvelo` runs
the optimization stages of scVelo, which assign each cell to one time, to reproduce published fits.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import get_num_threads

from veloshard.contract import Fit, status_of
from veloshard.kinetics.methods.dynamical import mixture, scvelo
from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, describe_gene
from veloshard.kinetics.methods.dynamical.time_assignment import OFF, ON
from veloshard.kinetics.methods.dynamical.velocity import residual_velocity, shrunken_velocity
from veloshard.kinetics.methods.steady_state import (
    r_squared,
    slope_through_origin,
    steady_state_ratio,
    steady_state_status,
)
from veloshard.preprocessing.moments import first_moments
from veloshard.progress import report_progress

SOLVERS = {"mixture": mixture, "scvelo": scvelo}


# Columns of both solvers, named as in scVelo.
COLUMNS = (
    "fit_alpha",
    "fit_beta",
    "fit_gamma",
    "fit_t_",
    "fit_scaling",
    "fit_std_u",
    "fit_std_s",
    "fit_likelihood",
    "fit_variance",
    "fit_alignment_scaling",
    "fit_curve_weight",
)


LAYERS = ("fit_t", "fit_tau", "fit_tau_", "velocity", "velocity_u")


def fit(block, *, solver="mixture", velocity="shrunken", fit_all_genes=False, min_r2=0.01, min_ratio=0.01):
    """Fit the splicing kinetics of each gene.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    solver : str
        `mixture`, expectation-maximization for a mixture over points along the curve; or `scvelo`, scVelo's stages.
    velocity : str
        `fitted`, beta u - gamma s on the fitted curve; `residual`, beta u - gamma s of the observed moments; or
        `shrunken`, between that on the curve and the residual from a line, by the curve weight.
    fit_all_genes : bool
        Fit every gene with counts, not only those whose steady-state line is above the two bounds.
    min_r2 : float
        Genes with an r2 at or below this bound are not fitted. The r2 is that of a line through all cells.
    min_ratio : float
        Genes with a steady-state ratio at or below this bound are not fitted.

    Returns
    -------
    veloshard.contract.Fit
        Columns `fit_*` in scVelo's conventions: time aligned to 20, beta divided by the scaling, `fit_t_` the switching
        time. Layers `fit_t` (gene time), `fit_tau` and `fit_tau_` (time in induction and in repression), `velocity` and
        `velocity_u`. NaN for genes that were not fitted.
    """
    spliced = first_moments(block.spliced, block.neighborhood)
    unspliced = first_moments(block.unspliced, block.neighborhood)
    gamma = steady_state_ratio(spliced, unspliced, percentile=95)
    # as in scVelo, the bound on r2 is for a line through all cells, not only through the extreme ones
    r2 = r_squared(unspliced - slope_through_origin(spliced, unspliced)[:, None] * spliced, unspliced)
    if fit_all_genes:
        min_r2 = min_ratio = -np.inf
    status, reason = steady_state_status(spliced, unspliced, gamma, r2, min_r2=min_r2, min_ratio=min_ratio)

    to_fit = np.flatnonzero(status == "ok")
    solve = SOLVERS[solver].fitter(block, unspliced, spliced, gamma)
    names = COLUMNS + SOLVERS[solver].COLUMNS
    table = np.full((len(status), len(names)), np.nan)
    layers = np.full((len(LAYERS), *spliced.shape), np.nan, dtype=np.float32)

    solver_reason = np.full(len(status), "", dtype=object)

    def fit_gene(k):
        gene = describe_gene(unspliced[k], spliced[k], block.neighborhood)
        fitted = "fewer than three cells with both spliced and unspliced counts" if gene is None else solve(gene, k)
        if isinstance(fitted, str):
            solver_reason[k] = fitted
        else:
            columns, layers[:, k] = _reported(fitted, velocity)
            table[k] = [columns[name] for name in names]

    # threads, because the compiled functions release the GIL and take nearly all of the time
    with ThreadPoolExecutor(get_num_threads()) as pool:
        for _ in report_progress(pool.map(fit_gene, to_fit), len(to_fit), "genes"):
            pass
    columns = dict(zip(names, table.T, strict=True))
    fitted = np.isfinite(table).all(axis=1)
    solver_status, solver_reason = status_of(
        *((solver_reason == reason, reason) for reason in np.unique(solver_reason) if reason),
        (~fitted, "the fit left no finite parameters"),
    )
    attempted = status == "ok"
    layers[:, attempted & ~fitted] = np.nan
    return Fit(
        genes={
            **columns,
            "fit_r2": r2,
            # induction starts without counts
            "fit_u0": np.where(fitted, 0.0, np.nan),
            "fit_s0": np.where(fitted, 0.0, np.nan),
            "status": np.where(attempted, solver_status, status),
            "reason": np.where(attempted, solver_reason, reason),
        },
        layers=dict(zip(LAYERS, layers, strict=True)),
    )


def velocity_genes(genes, *, min_likelihood=0.001, min_r2=0.01):
    """Return the genes that enter the velocity graph, by likelihood, r2 and scaling.

    Genes are left out if their scaling is extreme: below both the 10th percentile and 0.03, or above both the 90th
    percentile and 3.

    Parameters
    ----------
    genes : dict of ndarray, shape (n_genes,)
        Columns of a `Fit` of all genes of the dataset.
    min_likelihood : float
        Lower bound of `fit_likelihood`.
    min_r2 : float
        Lower bound of `fit_r2`.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for velocity genes.
    """
    scaling, fitted = genes["fit_scaling"], genes["status"] == "ok"
    if not fitted.any():
        return fitted
    low, high = np.percentile(scaling[fitted], [10, 90])
    return (
        fitted
        & (genes["fit_likelihood"] > min_likelihood)
        & (genes["fit_r2"] > min_r2)
        & (scaling > min(low, 0.03))
        & (scaling < max(high, 3))
    )


def _reported(fitted, form):
    """Return the columns of a `GeneFit` by name, and one array (n_cells,) for each of `LAYERS`."""
    parameters = fitted.parameters
    *shrunken, weight = shrunken_velocity(fitted)
    velocities = {
        "fitted": fitted.velocity,
        "residual": residual_velocity(fitted.gene, parameters, fitted.time),
        "shrunken": shrunken,
    }
    columns = {
        "fit_alpha": parameters[ALPHA],
        "fit_beta": parameters[BETA] / parameters[SCALING],
        "fit_gamma": parameters[GAMMA],
        "fit_t_": parameters[SWITCHING_TIME],
        "fit_scaling": parameters[SCALING],
        "fit_std_u": fitted.gene.std_u,
        "fit_std_s": fitted.gene.std_s,
        "fit_likelihood": fitted.likelihood,
        "fit_variance": fitted.variance,
        "fit_alignment_scaling": fitted.factor,
        "fit_curve_weight": weight,
        **fitted.columns,
    }
    return columns, (fitted.time, fitted.tau[ON], fitted.tau[OFF], *velocities[form])
