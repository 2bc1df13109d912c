"""The plane of spliced and unspliced abundance: which genes are fitted best, their cells and their curves."""

import logging
import math
from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.errors import InputError, choices
from veloshard.figures.embedding import ARROWS, draw_clusters
from veloshard.figures.style import INK
from veloshard.splicing import spliced_at, unspliced_at

log = logging.getLogger(__name__)

# the column of var that says how well a gene is fitted, and how to write it
# columns without which there is no curve, and no line of the steady state
CURVE = {"fit_alpha", "fit_beta", "fit_gamma", "fit_t_", "fit_scaling"}
LINE = {"fit_beta", "fit_gamma"}
SCORES = {"fit_likelihood": "likelihood", "velocity_r2": "R²"}

# points of a branch; more of them are not seen
N_TIMES = 300

# the repression is drawn until this share is left of the species that decays more slowly
REMAINDER = 0.01

LINES = {
    "induction": {"color": INK, "linewidth": 1.5},
    "repression": {"color": "#8E44AD", "linewidth": 1.5},
    "steady state": {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2.5))},
}

OUTLINE = {"path_effects": [withStroke(linewidth=3.2, foreground="white"), Normal()], "zorder": ARROWS}


class Dynamics(NamedTuple):
    """Fitted dynamics of one gene: rates per unit of its latent time, abundances as in the layers."""

    alpha: float
    beta: float
    """Splicing rate of the rescaled unspliced abundance (the column divided by scaling, undone)."""
    gamma: float
    switching_time: float
    scaling: float
    """Unspliced abundance is this many times that of the model."""
    unspliced_origin: float
    spliced_origin: float


def chosen_genes(result, genes, n_genes):
    """Those of `genes` that the result has, or the `n_genes` best where none are named.

    Datasets of one run differ in their genes.  InputError where the result has none of those named.
    """
    known = [gene for gene in genes if gene in result.var.index]
    for gene in set(genes) - set(known):
        log.warning("no gene %r in the result (%s).", gene, choices(result.var.index, gene, most=3))
    if genes and not known:
        raise InputError(f"no gene {genes[0]!r} in the result ({choices(result.var.index, genes[0])}).")
    return known or best_genes(result.var, n_genes)


def best_genes(var, n_genes):
    """Names of the `n_genes` velocity genes with the highest score, best first; without scores the first ones."""
    column, velocity_genes = score_of(var), np.asarray(var["velocity_genes"], dtype=bool)
    if column is None:
        return var.index[velocity_genes][:n_genes].tolist()
    scores = var.loc[velocity_genes, column].dropna()
    return scores.sort_values(ascending=False, kind="stable").index[:n_genes].tolist()


def score_of(var):
    """Name of the column of `var` that says how well genes are fitted; None where there is none."""
    return next((column for column in SCORES if column in var), None)


def dynamics_of(gene):
    """`Dynamics` from the fit_* columns of one row of `var`, which follow scVelo's conventions."""
    return Dynamics(
        alpha=gene["fit_alpha"],
        beta=gene["fit_beta"] * gene["fit_scaling"],
        gamma=gene["fit_gamma"],
        switching_time=gene["fit_t_"],
        scaling=gene["fit_scaling"],
        unspliced_origin=gene.get("fit_u0", 0.0),
        spliced_origin=gene.get("fit_s0", 0.0),
    )


def fitted_branches(dynamics):
    """Induction and repression of a gene: two arrays (n_times, 2) of spliced and unspliced abundance.

    The induction starts from nothing and lasts until the switch; from there transcription is off until
    nearly nothing is left.
    """
    alpha, beta, gamma, switching_time, scaling, *_ = dynamics
    origin = np.array([dynamics.spliced_origin, dynamics.unspliced_origin])

    def branch(duration, u0, s0, alpha):
        tau = np.linspace(0.0, duration, N_TIMES)
        return spliced_at(tau, s0, u0, alpha, beta, gamma), unspliced_at(tau, u0, alpha, beta)

    induction = branch(switching_time, 0.0, 0.0, alpha)
    decay_time = -math.log(REMAINDER) / min(beta, gamma)
    repression = branch(decay_time, induction[1][-1], induction[0][-1], 0.0)
    return tuple(origin + np.column_stack([s, scaling * u]) for s, u in (induction, repression))


def steady_line(gene):
    """Slope and a point (spliced, unspliced) of the line of the steady state of a gene, a row of `var`."""
    if set(gene.index) >= LINE:
        return gene["fit_gamma"] / gene["fit_beta"], (gene.get("fit_s0", 0.0), gene.get("fit_u0", 0.0))
    return gene["velocity_gamma"], (0.0, 0.0)


def column_of(result, layer, gene):
    """(n_cells,) float64 values of one gene in a layer; InputError where there is no such layer."""
    if layer not in result.layers:
        raise InputError(f"no layer {layer!r} in the result ({choices(result.layers.keys(), layer)}).")
    return np.asarray(result.layers[layer][:, result.var.index.get_loc(gene)], dtype=np.float64)


def draw_portrait(axes, result, name, clusters, *, style):
    """Draw the cells of a gene at their first moments, in the colours of `clusters`, and the gene's fit.

    A dynamical fit adds its induction, its repression and the ratio at steady state, a linear fit its line.
    Returns whether the gene is fitted.
    """
    gene = result.var.loc[name]
    moments = np.column_stack([column_of(result, layer, name) for layer in ("Ms", "Mu")])
    draw_clusters(axes, moments, clusters, style=style)
    score = score_of(result.var)
    fitted = bool(np.isfinite(gene[score])) if score else gene["status"] == "ok"
    if fitted:
        _draw_fit(axes, gene)
    # curves may go where no cell has been: a switch that is late to come would leave the cells in a corner
    high = np.nanmax(moments, axis=0)
    high = np.where(high > 0, high, 1.0)
    axes.set(xlim=(-0.04 * high[0], 1.1 * high[0]), ylim=(-0.04 * high[1], 1.1 * high[1]))
    axes.locator_params(nbins=4)
    axes.set(xlabel="spliced", ylabel="unspliced")
    return fitted


def title_of(result, name, fitted):
    """Name of a gene and how well it is fitted."""
    score = score_of(result.var)
    if not fitted:
        return f"{name}\nnot fitted"
    return f"{name}\n{SCORES[score]} {result.var.loc[name, score]:.2f}" if score else name


def line_entries(panels):
    """Legend entries (handle, name) of the kinds of lines that are drawn in `panels`."""
    shown = {line.get_label() for axes in panels for line in axes.get_lines()}
    return [(Line2D([], [], **look), name) for name, look in LINES.items() if name in shown]


def _draw_fit(axes, gene):
    """Draw what is known of a gene's fit: not every model has rates."""
    if set(gene.index) >= CURVE:
        induction, repression = fitted_branches(dynamics_of(gene))
        axes.plot(*induction.T, label="induction", **LINES["induction"], **OUTLINE)
        axes.plot(*repression.T, label="repression", **LINES["repression"], **OUTLINE)
    if set(gene.index) >= LINE or "velocity_gamma" in gene:
        slope, point = steady_line(gene)
        axes.axline(point, slope=slope, label="steady state", **LINES["steady state"], **OUTLINE)
