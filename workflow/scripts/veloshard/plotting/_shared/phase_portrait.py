"""Phase portraits of genes: their cells, fitted curves and steady-state lines; choice of the best-fitted genes."""

import logging
import math
from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke

from veloshard.errors import InputError, choices
from veloshard.kinetics.splicing import spliced_at, unspliced_at
from veloshard.plotting._shared.embedding import ARROWS, draw_clusters
from veloshard.plotting._shared.style import INK

log = logging.getLogger(__name__)

# columns of var that are needed to draw the fitted curve
CURVE_COLUMNS = {"fit_alpha", "fit_beta", "fit_gamma", "fit_t_", "fit_scaling"}

# columns of var that are needed to draw the steady-state line of a dynamical fit
LINE_COLUMNS = {"fit_beta", "fit_gamma"}

# columns of var with the goodness of fit and their labels, the preferred column first
SCORES = {"fit_likelihood": "likelihood", "velocity_r2": "R²"}

# points per branch of the curve; more of them would not be visible
N_TIMES = 300

# repression is drawn until this fraction is left of the species that decays more slowly
REMAINDER = 0.01

LINES = {
    "induction": {"color": INK, "linewidth": 1.5},
    "repression": {"color": "#8E44AD", "linewidth": 1.5},
    "steady state": {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2.5))},
}

OUTLINE = {"path_effects": [withStroke(linewidth=3.2, foreground="white"), Normal()], "zorder": ARROWS}


class Dynamics(NamedTuple):
    """Fitted kinetics of one gene, in units of its gene time and of the layers.

    Attributes
    ----------
    alpha : float
        Transcription rate.
    beta : float
        Splicing rate of the rescaled unspliced abundance: `fit_beta` times `fit_scaling`.
    gamma : float
        Degradation rate.
    switching_time : float
        Time at which transcription ends.
    scaling : float
        Ratio of the measured unspliced abundance to that of the model.
    unspliced_origin, spliced_origin : float
        Abundances at time 0, in the unit of the layers.
    """

    alpha: float
    beta: float
    gamma: float
    switching_time: float
    scaling: float
    unspliced_origin: float
    spliced_origin: float


def select_genes(result, genes, n_genes):
    """Return the requested genes that the result has, or the best-fitted velocity genes if none are requested.

    Genes that the result lacks are skipped with a warning, because the datasets of one run differ in their genes.

    Parameters
    ----------
    result : AnnData or Result
        Holds the genes.
    genes : sequence of str
        Requested genes; empty for the best-fitted ones.
    n_genes : int
        Number of best-fitted genes.

    Returns
    -------
    list of str
        Names of the genes.

    Raises
    ------
    InputError
        If the result has none of the requested genes.
    """
    available = [gene for gene in genes if gene in result.var.index]
    for gene in set(genes) - set(available):
        log.warning("no gene %r in the result (%s).", gene, choices(result.var.index, gene, most=3))
    if genes and not available:
        raise InputError(f"no gene {genes[0]!r} in the result ({choices(result.var.index, genes[0])}).")
    return available or best_genes(result.var, n_genes)


def best_genes(var, n_genes):
    """Return the velocity genes with the highest goodness of fit, or the first velocity genes without such a column.

    Parameters
    ----------
    var : DataFrame
        Annotations of the genes, with the column `velocity_genes`.
    n_genes : int
        Largest number of genes.

    Returns
    -------
    list of str
        Names of the genes, the best one first.
    """
    column, velocity_genes = score_column(var), np.asarray(var["velocity_genes"], dtype=bool)
    if column is None:
        return var.index[velocity_genes][:n_genes].tolist()
    scores = var.loc[velocity_genes, column].dropna()
    return scores.sort_values(ascending=False, kind="stable").index[:n_genes].tolist()


def score_column(var):
    """Return the name of the column of `var` with the goodness of fit, or None."""
    return next((column for column in SCORES if column in var), None)


def fitted_dynamics(gene):
    """Return the `Dynamics` of a gene from its row of `var`, whose `fit_*` columns follow scVelo."""
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
    """Return the curves of induction and repression of a gene.

    Induction starts at the origin and ends at the switching time. Repression starts there, without transcription, and
    ends when 1 % is left of the species that decays more slowly.

    Parameters
    ----------
    dynamics : Dynamics
        Fitted kinetics of the gene.

    Returns
    -------
    induction, repression : ndarray of float64, shape (n_times, 2)
        Spliced and unspliced abundance.
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


def steady_state_line(gene):
    """Return slope and one point (spliced, unspliced) of the steady-state line of a gene, a row of `var`."""
    if set(gene.index) >= LINE_COLUMNS:
        return gene["fit_gamma"] / gene["fit_beta"], (gene.get("fit_s0", 0.0), gene.get("fit_u0", 0.0))
    return gene["velocity_gamma"], (0.0, 0.0)


def layer_column(result, layer, gene):
    """Return the values of one gene in a layer.

    Parameters
    ----------
    result : AnnData or Result
        Holds the layers.
    layer : str
        Name of the layer.
    gene : str
        Name of the gene.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        Values of the cells.

    Raises
    ------
    InputError
        If the result has no such layer.
    """
    if layer not in result.layers:
        raise InputError(f"no layer {layer!r} in the result ({choices(result.layers.keys(), layer)}).")
    return np.asarray(result.layers[layer][:, result.var.index.get_loc(gene)], dtype=np.float64)


def draw_phase_portrait(axes, result, name, clusters, *, style):
    """Draw the cells of a gene at their moments and the fit of the gene.

    A dynamical fit is drawn as induction, repression and steady-state line, a linear fit as its line.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel to draw on.
    result : AnnData or Result
        Holds the layers `Ms` and `Mu` and the fit.
    name : str
        Name of the gene.
    clusters : Clusters
        Clusters that color the cells.
    style : Style
        Style of the panel.

    Returns
    -------
    bool
        True if the gene is fitted.
    """
    gene = result.var.loc[name]
    moments = np.column_stack([layer_column(result, layer, name) for layer in ("Ms", "Mu")])
    draw_clusters(axes, moments, clusters, style=style)
    score = score_column(result.var)
    fitted = bool(np.isfinite(gene[score])) if score else gene["status"] == "ok"
    if fitted:
        _draw_fit(axes, gene)
    # limits of the cells, not of the curve: a curve with a late switch extends far beyond the cells
    high = np.nanmax(moments, axis=0)
    high = np.where(high > 0, high, 1.0)
    axes.set(xlim=(-0.04 * high[0], 1.1 * high[0]), ylim=(-0.04 * high[1], 1.1 * high[1]))
    axes.locator_params(nbins=4)
    axes.set(xlabel="spliced", ylabel="unspliced")
    return fitted


def gene_title(result, name, fitted):
    """Return the title of a gene: its name and its goodness of fit."""
    score = score_column(result.var)
    if not fitted:
        return f"{name}\nnot fitted"
    return f"{name}\n{SCORES[score]} {result.var.loc[name, score]:.2f}" if score else name


def line_entries(panels):
    """Return legend entries (handle, label) of the kinds of lines that are drawn in `panels`."""
    drawn = {line.get_label() for axes in panels for line in axes.get_lines()}
    return [(Line2D([], [], **look), name) for name, look in LINES.items() if name in drawn]


def _draw_fit(axes, gene):
    """Draw the parts of the fit for which the gene has parameters: not every model has rates."""
    if set(gene.index) >= CURVE_COLUMNS:
        induction, repression = fitted_branches(fitted_dynamics(gene))
        axes.plot(*induction.T, label="induction", **LINES["induction"], **OUTLINE)
        axes.plot(*repression.T, label="repression", **LINES["repression"], **OUTLINE)
    if set(gene.index) >= LINE_COLUMNS or "velocity_gamma" in gene:
        slope, point = steady_state_line(gene)
        axes.axline(point, slope=slope, label="steady state", **LINES["steady state"], **OUTLINE)
