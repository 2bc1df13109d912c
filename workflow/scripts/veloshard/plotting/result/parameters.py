"""Distributions of the fitted parameters over genes."""

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from veloshard.output.cluster_colors import OKABE_ITO, UNKNOWN
from veloshard.plotting._shared.style import add_legend, message_figure, panel_grid, set_title, styled

# analyses that the figure shows
INPUTS = ("fit",)

TITLE = "Fitted parameters"

# columns of var: their labels, and whether their axis is logarithmic
PARAMETERS = {
    "fit_alpha": ("transcription rate α", True),
    "fit_beta": ("splicing rate β", True),
    "fit_gamma": ("degradation rate γ", True),
    "fit_t_": ("switching time", True),
    "fit_scaling": ("scaling of unspliced", True),
    "fit_likelihood": ("likelihood", False),
    "velocity_gamma": ("steady-state ratio γ", True),
    "velocity_r2": ("R² of the line", False),
}

COLORS = {"all genes": UNKNOWN, "velocity genes": OKABE_ITO[0]}

N_BINS = 40

# percentiles, not min and max: a few outliers would put all other genes into one bin
LIMITS = (1, 99)

# ratio of the limits up to which a logarithmic axis has ticks at 1, 2 and 5
FEW_DECADES = 100


@styled
def draw(result, *, style):
    """Draw a histogram of each fitted parameter, over all genes that have it and over the velocity genes among them.

    Rates, times and ratios have logarithmic axes, without values of 0 and below. The outermost bins include the values
    beyond the 1st and 99th percentile.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per parameter.
    """
    columns = [column for column in PARAMETERS if column in result.var and result.var[column].notna().any()]
    if not columns:
        return message_figure(result, style, TITLE, "No gene is fitted.")
    is_velocity_gene = result.var["velocity_genes"].to_numpy(dtype=bool)
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(columns), 1.15 * side, 0.9 * side)
    for axes, column in zip(panels, columns, strict=True):
        label, is_logarithmic = PARAMETERS[column]
        values = result.var[column].to_numpy(dtype=np.float64)
        _draw_histograms(axes, values, is_velocity_gene, is_logarithmic)
        axes.set(xlabel=label, ylabel="genes")
    add_legend(figure, [(Patch(color=color), name) for name, color in COLORS.items()])
    set_title(figure, result, TITLE)
    return figure


def _draw_histograms(axes, values, is_velocity_gene, is_logarithmic):
    usable = np.isfinite(values) & ((values > 0) | (not is_logarithmic))
    if not usable.any():
        return
    low, high = np.percentile(values[usable], LIMITS)
    if low == high:
        low, high = (low / 2, high * 2) if is_logarithmic else (low - 0.5, high + 0.5)
    bins = (np.geomspace if is_logarithmic else np.linspace)(low, high, N_BINS + 1)
    for genes, color in zip((usable, usable & is_velocity_gene), COLORS.values(), strict=True):
        axes.hist(np.clip(values[genes], bins[0], bins[-1]), bins=bins, color=color)
    if is_logarithmic:
        axes.set_xscale("log")
        # with ticks at powers of ten alone, an axis of few decades would have hardly any labels
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < FEW_DECADES else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
