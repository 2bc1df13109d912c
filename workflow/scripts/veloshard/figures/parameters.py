"""How the fitted parameters are distributed over genes."""

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from veloshard.figures.style import OKABE_ITO, UNKNOWN, add_legend, panel_grid, set_title, styled, words_instead

TITLE = "Fitted parameters"

# columns of var: how to write them, and whether their logarithm is what is spread evenly
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
COLOURS = {"all genes": UNKNOWN, "velocity genes": OKABE_ITO[0]}

N_BINS = 40

# percentiles: a few genes far out would squeeze all others into a bin
ENDS = (1, 99)

FEW_DECADES = 100


@styled
def draw(result, *, style):
    """Draw a histogram of each fitted parameter over all genes that have it, and over the velocity genes among them.

    Rates, times and ratios are on logarithmic scales, where values of 0 and below are left out.  Values beyond the
    1st and 99th percentile are counted in the outermost bins.
    """
    shown = [column for column in PARAMETERS if column in result.var and result.var[column].notna().any()]
    if not shown:
        return words_instead(result, style, TITLE, "No gene is fitted.")
    chosen = result.var["velocity_genes"].to_numpy(dtype=bool)
    side = 0.6 * style.panel_size
    figure, panels = panel_grid(len(shown), 1.15 * side, 0.9 * side)
    for axes, column in zip(panels, shown, strict=True):
        name, logarithmic = PARAMETERS[column]
        values = result.var[column].to_numpy(dtype=np.float64)
        _draw_histograms(axes, values, chosen, logarithmic)
        axes.set(xlabel=name, ylabel="genes")
    add_legend(figure, [(Patch(color=colour), name) for name, colour in COLOURS.items()])
    set_title(figure, result, TITLE)
    return figure


def _draw_histograms(axes, values, chosen, logarithmic):
    usable = np.isfinite(values) & ((values > 0) | (not logarithmic))
    if not usable.any():
        return
    low, high = np.percentile(values[usable], ENDS)
    if low == high:
        low, high = (low / 2, high * 2) if logarithmic else (low - 0.5, high + 0.5)
    bins = (np.geomspace if logarithmic else np.linspace)(low, high, N_BINS + 1)
    for genes, colour in zip((usable, usable & chosen), COLOURS.values(), strict=True):
        axes.hist(np.clip(values[genes], bins[0], bins[-1]), bins=bins, color=colour)
    if logarithmic:
        axes.set_xscale("log")
        # within few decades 1, 10, 100 alone would leave an axis nearly without labels
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < FEW_DECADES else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
