"""What all figures share: sizes, fonts, colours of clusters, title and legend."""

import functools
import logging
import math
import textwrap
from typing import NamedTuple

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from veloshard.errors import InputError, choices

log = logging.getLogger(__name__)

INK = "#1A1A1A"
# inches
TITLE_HEIGHT = 0.35
# cells whose value or cluster is unknown
UNKNOWN = "#DADADA"
# all cells of a dataset without clusters
NEUTRAL = "#9A9A9A"

# Okabe & Ito (2008), with grey for black: black is the colour of arrows, curves and text
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")

# Kelly's (1965) colours of maximum contrast without white and black, ordered so that neighbours in the legend
# stay far apart
KELLY = (
    "#0067A5", "#F38400", "#008856", "#BE0032", "#A1CAF1", "#875692", "#F3C300", "#E68FAC", "#8DB600",
    "#882D17", "#604E97", "#C2B280", "#E25822", "#2B3D26", "#B3446C", "#DCD300", "#654522", "#F99379",
    "#848482", "#F6A600",
)  # fmt: skip

LEGEND_CHARACTERS = 32
# heights of an entry of the legend and of each further line of it, in its font size
ENTRY_PITCH, LINE_PITCH = 1.7, 1.4
PANELS_PER_ROW = 4
# characters of a line in a figure that has only words to show
WORDS_PER_LINE = 52

# columns of obs that hold a time, the better one first
TIMES = {"latent_time": "Latent time", "velocity_pseudotime": "Velocity pseudotime"}


class Style(NamedTuple):
    """Look of a figure, the same for all figures of a run."""

    panel_size: float = 4.0
    """Inches; the side of a square of the same area as one embedding panel."""
    dpi: int = 180
    """Dots per inch of PNG files and of rasterised layers."""
    font_size: float = 9.0
    """Points; titles are a little larger."""
    font: str = "DejaVu Sans"
    """Family, of those that the machine has."""
    palette: tuple = ()
    """Colours of the clusters in their order; empty: those of the data, or chosen by their number."""


class Clusters(NamedTuple):
    """Clusters of the cells, as they are drawn."""

    names: tuple
    """Names of the clusters that have cells, in the order of their categories."""
    codes: np.ndarray
    """(n_cells,) index into `names`; -1 where a cell has no cluster."""
    colours: np.ndarray
    """(n_clusters, 4) RGBA."""
    unknown: str
    """Colour of cells without a cluster."""

    @property
    def of_cells(self):
        """(n_cells, 4) RGBA of every cell."""
        return np.vstack([self.colours, to_rgba_array(self.unknown)])[self.codes]


@functools.cache
def family(font):
    """Return `font` where the machine has it, else that which comes with matplotlib, and say so once."""
    if font in font_manager.get_font_names():
        return font
    log.warning("there is no font %r on this machine: %s instead", font, Style().font)
    return Style().font


def settings(style):
    """Return a context with matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    font_size = style.font_size
    ours = {
        "font.family": family(style.font),
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
        # names of clusters and genes are data: a dollar sign in them is no formula
        "text.parse_math": False,
        "pdf.fonttype": 42,  # text stays text when the figure is edited
        "svg.hashsalt": "veloshard",
    }
    return matplotlib.style.context(["default", ours])


def styled(draw):
    """Run a figure's `draw` within the settings of its `style`."""

    @functools.wraps(draw)
    def draw_with_settings(*drawn, style, **options):
        with settings(style):
            return draw(*drawn, style=style, **options)

    return draw_with_settings


def new_figure(width, height):
    """Return an empty figure of `width` x `height` inches that lays out its own content."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.04)
    # a canvas that can measure text
    FigureCanvasAgg(figure)
    return figure


def panel_grid(n_panels, width, height):
    """Return a figure and its `n_panels` axes of `width` x `height` inches, row by row; at least one.

    Places that are left in the last row stay empty.
    """
    n_panels = max(1, n_panels)
    n_rows = math.ceil(n_panels / PANELS_PER_ROW)
    # rows as equal as they can be: six panels are two rows of three
    n_columns = math.ceil(n_panels / n_rows)
    figure = new_figure(n_columns * width, n_rows * height + TITLE_HEIGHT)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    return figure, panels[:n_panels]


def words_instead(result, style, what, words):
    """Return a figure that says in `words` why there is nothing to show, titled like the others."""
    # a letter is about 0.6 of the font size wide
    figure = new_figure(0.7 * WORDS_PER_LINE * style.font_size / 72, 1.2 + TITLE_HEIGHT)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(words, WORDS_PER_LINE), ha="center", va="center", transform=axes.transAxes)
    set_title(figure, result, what)
    return figure


def set_title(figure, result, what):
    """Title `figure` with `what` it shows, and the dataset and method where the result names them.

    Where that is wider than the figure they take a line of their own, and the figure becomes higher by it.
    """
    params = result.uns.get("velocity_params", {})
    source = ", ".join(str(params[key]) for key in ("dataset", "method") if key in params)
    title = figure.suptitle(f"{what}: {source}" if source else what)
    extent = title.get_window_extent()
    if source and extent.width > 0.98 * figure.bbox.width:
        title.set_text(f"{what}\n{source}")
        figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def chosen_palette(n_clusters):
    """Return `n_clusters` distinguishable colours; safe for colour-blind readers up to eight."""
    if n_clusters <= len(OKABE_ITO):
        return OKABE_ITO[:n_clusters]
    # beyond one round the same hues come back, each time halfway to white
    return tuple(
        tuple(1 - (1 - channel) * 0.5 ** (i // len(KELLY)) for channel in to_rgb(KELLY[i % len(KELLY)]))
        for i in range(n_clusters)
    )


def time_of(result):
    """Column of `obs` with the better time of the cells, and its name in figures.

    That is latent time, or velocity pseudotime where the method has no latent time; InputError for neither.
    """
    column = next((column for column in TIMES if column in result.obs), None)
    if column is None:
        raise InputError(f"obs has none of the columns {', '.join(TIMES)}: compute a time first.")
    return column, TIMES[column]


def clusters_of(result, style):
    """Return the clusters of `result`, coloured by `style`, else by the data, else by their number.

    Without a cluster column in `uns["velocity_params"]["clusters"]` no cell has a cluster and all are grey.
    Raises InputError when the column is not in `obs`, or when `style.palette` has too few colours.
    """
    column = result.uns.get("velocity_params", {}).get("clusters")
    if column is None:
        return Clusters((), np.full(len(result.obs), -1), np.empty((0, 4)), NEUTRAL)
    if column not in result.obs:
        raise InputError(f"no column {column!r} in obs ({choices(result.obs.columns, column)}).")
    values = result.obs[column].astype("category").cat
    palette = _palette(values.categories, style.palette, result.uns.get(f"{column}_colors", ()))
    present = np.flatnonzero(np.bincount(values.codes[values.codes >= 0], minlength=len(values.categories)))
    codes = pd.Index(present).get_indexer(values.codes)
    names = tuple(str(values.categories[i]) for i in present)
    return Clusters(names, codes, to_rgba_array([palette[i] for i in present]), UNKNOWN)


def _palette(categories, wanted, from_data):
    """Return one colour for each of `categories`."""
    if len(wanted):
        if len(wanted) < len(categories):
            raise InputError(f"the palette has {len(wanted)} colours for {len(categories)} clusters.")
        return wanted
    # another number of colours belongs to other clusters, as after taking a subset of the cells
    return from_data if len(from_data) == len(categories) else chosen_palette(len(categories))


def add_legend(figure, entries):
    """Put a legend beside the panels and widen `figure` by it, so that panels keep their size.

    `entries` : list of (handle, name).  Nothing is drawn for an empty list.
    """
    if not entries:
        return
    handles, labels = zip(*entries, strict=True)
    labels = [textwrap.fill(label, LEGEND_CHARACTERS) for label in labels]
    # the legend stands in the middle, where as much stays free below as the title takes above
    room = (figure.get_figheight() - 2 * TITLE_HEIGHT) * 72 / matplotlib.rcParams["legend.fontsize"]
    legend = figure.legend(
        handles,
        labels,
        loc="outside right center",
        ncols=_columns_of_legend(labels, room),
        frameon=False,
        handletextpad=0.6,
        columnspacing=1.2,
        borderaxespad=0.6,
    )
    figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)


def _columns_of_legend(labels, room):
    """Fewest columns in which entries fit; `room` is the height of a column in font sizes."""
    heights = [ENTRY_PITCH + LINE_PITCH * label.count("\n") for label in labels]
    for n_columns in range(1, len(labels)):
        # as matplotlib shares out the entries
        if max(sum(column) for column in np.array_split(heights, n_columns)) <= room:
            return n_columns
    return len(labels)


def widen_by_labels(figure, axes):
    """Widen `figure` by the labels at the left of `axes` as far as they are wider than an inch."""
    widest = max(label.get_window_extent().width for label in axes.get_yticklabels()) / figure.dpi
    figure.set_figwidth(figure.get_figwidth() + max(0.0, widest - 1.0))


def cluster_entries(clusters):
    """Legend entries (handle, name) of all clusters."""
    return [
        (Line2D([], [], linestyle="", marker="o", markersize=6, color=colour), name)
        for name, colour in zip(clusters.names, clusters.colours, strict=True)
    ]
