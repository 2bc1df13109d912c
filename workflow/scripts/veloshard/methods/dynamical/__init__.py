"""The dynamical model (Bergen et al. 2020): the splicing kinetics of each gene by expectation-maximisation.

Each gene is transcribed at rate alpha from time 0 to a switching time and not after; splicing (beta) and
degradation (gamma) are constant.  Cells are assigned to times on that curve, and the rates fitted to the cells,
in turn.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import get_num_threads

from veloshard.contract import Fit, status_of
from veloshard.methods.dynamical import compatible, converged
from veloshard.methods.dynamical.assign import OFF, ON
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, describe_gene
from veloshard.methods.dynamical.velocity import residual_velocity, supported_velocity
from veloshard.methods.steady_state import determination, judge_genes, slope, steady_state_ratio
from veloshard.moments import first_moments
from veloshard.progress import reported

SOLVERS = {"compatible": compatible, "converged": converged}
# Columns as scVelo names them; each solver has some of its own.
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
    "fit_support",
)
LAYERS = ("fit_t", "fit_tau", "fit_tau_", "velocity", "velocity_u")


def fit(block, *, solver="converged", velocity="supported", fit_all_genes=False, min_r2=0.01, min_ratio=0.01):
    """Fit the splicing kinetics of each gene of a `GeneBlock`.

    solver : `compatible`, scVelo's own stages.
    velocity : `fitted`, beta u - gamma s on the fitted curve; `residual`, of the observed moments; or `supported`,
        between those and that about a line, as the data bear the curve out.
    fit_all_genes : fit every gene with counts, not only those whose steady-state line is sound (r2 and slope above
        the two bounds).
    Returns a `Fit`: columns fit_* in scVelo's conventions (time aligned to 20, beta divided by the scaling,
    `fit_t_` the switching time), layers fit_t, fit_tau, fit_tau_ (times), velocity, velocity_u; NaN where a
    gene was not fitted.
    """
    spliced = first_moments(block.spliced, block.around)
    unspliced = first_moments(block.unspliced, block.around)
    gamma = steady_state_ratio(spliced, unspliced, percentile=95)
    # the bound on r2 is that of a line through all cells, not through the extreme ones alone
    r2 = determination(unspliced - slope(spliced, unspliced)[:, None] * spliced, unspliced)
    if fit_all_genes:
        min_r2 = min_ratio = -np.inf
    status, reason = judge_genes(spliced, unspliced, gamma, r2, min_r2=min_r2, min_ratio=min_ratio)

    wanted = np.flatnonzero(status == "ok")
    solve = SOLVERS[solver].fitter(block, unspliced, spliced, gamma)
    names = COLUMNS + SOLVERS[solver].COLUMNS
    table = np.full((len(status), len(names)), np.nan)
    layers = np.full((len(LAYERS), *spliced.shape), np.nan, dtype=np.float32)

    late_reason = np.full(len(status), "", dtype=object)

    def fit_gene(k):
        gene = describe_gene(unspliced[k], spliced[k], block.around)
        fitted = "fewer than three cells with both spliced and unspliced counts" if gene is None else solve(gene, k)
        if isinstance(fitted, str):
            late_reason[k] = fitted
        else:
            columns, layers[:, k] = _reported(fitted, velocity)
            table[k] = [columns[name] for name in names]

    # threads, because the compiled parts of a fit let go of Python's lock and take nearly all of its time
    with ThreadPoolExecutor(get_num_threads()) as pool:
        for _ in reported(pool.map(fit_gene, wanted), len(wanted), "genes"):
            pass
    columns = dict(zip(names, table.T, strict=True))
    fitted = np.isfinite(table).all(axis=1)
    late_status, late_reason = status_of(
        *((late_reason == reason, reason) for reason in np.unique(late_reason) if reason),
        (~fitted, "the fit left no finite parameters"),
    )
    attempted = status == "ok"
    layers[:, attempted & ~fitted] = np.nan
    return Fit(
        genes={
            **columns,
            "fit_r2": r2,
            # transcription starts from nothing
            "fit_u0": np.where(fitted, 0.0, np.nan),
            "fit_s0": np.where(fitted, 0.0, np.nan),
            "status": np.where(attempted, late_status, status),
            "reason": np.where(attempted, late_reason, reason),
        },
        layers=dict(zip(LAYERS, layers, strict=True)),
    )


def velocity_genes(genes, *, min_likelihood=0.001, min_r2=0.01):
    """Genes that enter the velocity graph, by likelihood, r2 and a scaling that is not extreme among all genes.

    genes : mapping of column names to arrays (n_genes,) over the whole dataset.   Returns bool (n_genes,).
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
    """Columns of a `Fitted` gene, by name, and one array (n_cells,) for each of `LAYERS`."""
    parameters = fitted.parameters
    *supported, weight = supported_velocity(fitted)
    velocities = {
        "fitted": fitted.velocity,
        "residual": residual_velocity(fitted.gene, parameters, fitted.time),
        "supported": supported,
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
        "fit_support": weight,
        **fitted.columns,
    }
    return columns, (fitted.time, fitted.tau[ON], fitted.tau[OFF], *velocities[form])
