"""Style of all figures: sizes, fonts, titles, legends and message figures."""

import functools
import logging
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from veloshard.errors import InputError
from veloshard.output.cluster_colors import AnnotatedCells, Clusters

log = logging.getLogger(__name__)

# color of text, axes, arrows and curves
INK = "#1A1A1A"

# inches
TITLE_HEIGHT = 0.35

LEGEND_CHARACTERS = 32

# heights of a legend entry and of each further line of it, in units of the font size
ENTRY_PITCH, LINE_PITCH = 1.7, 1.4

PANELS_PER_ROW = 4

# characters per line of a message figure
MESSAGE_CHARACTERS = 52

# columns of obs that hold a time and their labels, the preferred column first
TIMES = {"latent_time": "Latent time", "velocity_pseudotime": "Velocity pseudotime"}


class Style(NamedTuple):
    """Style of a figure, the same for all figures of a run.

    Attributes
    ----------
    panel_size : float
        Side in inches of a square with the area of one embedding panel.
    dpi : int
        Dots per inch of PNG files and of rasterized layers.
    font_size : float
        Font size in points. Titles are a little larger.
    font : str
        Font family. A family that is not installed is replaced by the default.
    palette : mapping of str to color
        Colors by cluster. Other clusters have the colors of the data or default colors.
    """

    panel_size: float = 4.0
    dpi: int = 180
    font_size: float = 9.0
    font: str = "DejaVu Sans"
    palette: Mapping[str, Any] = MappingProxyType({})


@functools.cache
def available_font(font: str) -> str:
    """Return `font` if it is installed, else the font that comes with matplotlib, with one warning."""
    if font in font_manager.get_font_names():
        return font
    log.warning("font %r is not installed; figures use %s instead", font, Style().font)
    return Style().font


def settings(style: Style) -> AbstractContextManager[None]:
    """Return a context with the default settings of matplotlib and those of `style`.

    The user's matplotlibrc has no effect within the context.

    Parameters
    ----------
    style : Style
        Style of the figure.

    Returns
    -------
    context manager
        Context in which to draw or to save.
    """
    font_size = style.font_size
    rc = {
        "font.family": available_font(style.font),
        "font.size": font_size,
        "axes.titlesize": font_size * 1.1,
        "figure.titlesize": font_size * 1.25,
        "legend.fontsize": font_size,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": font_size * 0.9,
        "ytick.labelsize": font_size * 0.9,
        # names of clusters and genes are data: a dollar sign in them does not start a formula
        "text.parse_math": False,
        "pdf.fonttype": 42,  # text stays text when the figure is edited
        "svg.hashsalt": "veloshard",
    }
    return matplotlib.style.context(["default", rc])


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return `draw` wrapped so that it runs within the settings of its `style`."""

    @functools.wraps(draw)
    def draw_with_settings(*args: Any, style: Style, **options: Any) -> Figure:
        with settings(style):
            return draw(*args, style=style, **options)

    return draw_with_settings


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches with constrained layout."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.04)
    figure = Figure(figsize=(width, height), layout=layout)
    # a canvas that can measure text
    FigureCanvasAgg(figure)
    return figure


def panel_grid(n_panels: int, width: float, height: float) -> tuple[Figure, NDArray[np.object_]]:
    """Return a figure and its panels, row by row.

    The rows are as equal as possible. The unused cells of the last row stay empty.

    Parameters
    ----------
    n_panels : int
        Number of panels. 0 gives one panel.
    width, height : float
        Size of a panel in inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    panels : ndarray of matplotlib.axes.Axes, shape (max(1, n_panels),)
        Its panels.
    """
    n_panels = max(1, n_panels)
    n_rows = math.ceil(n_panels / PANELS_PER_ROW)
    # rows as equal as possible: six panels are two rows of three
    n_columns = math.ceil(n_panels / n_rows)
    figure = new_figure(n_columns * width, n_rows * height + TITLE_HEIGHT)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    return figure, panels[:n_panels]


def message_figure(result: AnnotatedCells, style: Style, title: str, message: str) -> Figure:
    """Return a figure with a message in place of data.

    Parameters
    ----------
    result : AnnData, Result or Comparison
        Names the dataset and the method in the title.
    style : Style
        Style of the figure.
    title : str
        Title of the figure.
    message : str
        Reason why there is nothing to draw.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    # a letter is about 0.6 of the font size wide
    figure = new_figure(0.7 * MESSAGE_CHARACTERS * style.font_size / 72, 1.2 + TITLE_HEIGHT)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(message, MESSAGE_CHARACTERS), ha="center", va="center", transform=axes.transAxes)
    set_title(figure, result, title)
    return figure


def set_title(figure: Figure, result: AnnotatedCells, title: str) -> None:
    """Set the title of a figure, with the dataset and the method of the result.

    Dataset and method are on a second line if one line is wider than the figure. The figure becomes higher by that
    line.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, complete except for its legend.
    result : AnnData, Result or Comparison
        `uns["velocity_params"]` may hold `dataset` and `method`.
    title : str
        Quantity that the figure shows.
    """
    params = result.uns.get("velocity_params", {})
    source = ", ".join(str(params[key]) for key in ("dataset", "method") if key in params)
    text = figure.suptitle(f"{title}: {source}" if source else title)
    extent = text.get_window_extent()
    if source and extent.width > 0.98 * figure.bbox.width:
        text.set_text(f"{title}\n{source}")
        figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def time_column(result: AnnotatedCells) -> tuple[str, str]:
    """Return the preferred time of the cells: latent time, or velocity pseudotime for methods without latent time.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.

    Returns
    -------
    column : str
        Column of `obs`.
    label : str
        Its label in figures.

    Raises
    ------
    InputError
        If `obs` has neither column.
    """
    column = next((column for column in TIMES if column in result.obs), None)
    if column is None:
        raise InputError(f"obs has none of the columns {', '.join(TIMES)}. Compute the pseudotime first.")
    return column, TIMES[column]


def add_legend(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> None:
    """Add a legend to the right of the panels and widen the figure by it, so that panels keep their size.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    entries : list of (artist, str)
        Handles and labels. No legend is drawn for an empty list.
    """
    if not entries:
        return
    handles, names = zip(*entries, strict=True)
    labels = [textwrap.fill(name, LEGEND_CHARACTERS) for name in names]
    # the legend is centered vertically, and below it stays as much space as the title takes above
    height = (figure.get_figheight() - 2 * TITLE_HEIGHT) * 72 / matplotlib.rcParams["legend.fontsize"]
    legend = figure.legend(
        handles,
        labels,
        loc="outside right center",
        ncols=_legend_columns(labels, height),
        frameon=False,
        handletextpad=0.6,
        columnspacing=1.2,
        borderaxespad=0.6,
    )
    figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)


def _legend_columns(labels: Sequence[str], height: float) -> int:
    """Return the smallest number of columns in which the labels fit; `height` is in units of the font size."""
    heights = [ENTRY_PITCH + LINE_PITCH * label.count("\n") for label in labels]
    for n_columns in range(1, len(labels)):
        # as matplotlib distributes the entries
        if max(sum(column) for column in np.array_split(heights, n_columns)) <= height:
            return n_columns
    return len(labels)


def widen_by_labels(figure: Figure, axes: Axes) -> None:
    """Widen a figure by the excess of the y tick labels of `axes` over one inch."""
    widest = max(label.get_window_extent().width for label in axes.get_yticklabels()) / figure.dpi
    figure.set_figwidth(figure.get_figwidth() + max(0.0, widest - 1.0))


def cluster_entries(clusters: Clusters) -> list[tuple[Artist, str]]:
    """Return one legend entry (handle, label) per cluster."""
    return [
        (Line2D([], [], linestyle="", marker="o", markersize=6, color=color), name)
        for name, color in zip(clusters.names, clusters.colors, strict=True)
    ]
