"""One figure a file: `draw(result, *, style, **options)` returns a matplotlib Figure.

A new figure is a new file here; it is found by its name.  Those of all methods together are in `comparison/`.
`result` is a velocity result with AnnData's attributes (obs, var, obsm, obsp, uns, layers).  Of a layer only single
columns are read, so that layers may stay on disk.  Nothing here touches pyplot or leaves a trace in matplotlib's
global settings.
"""

import importlib
import io
import pkgutil
from pathlib import Path

from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from PIL import Image

from veloshard.errors import InputError, choices
from veloshard.figures.palette import with_palette
from veloshard.figures.style import Style, settings

__all__ = ["Style", "load", "names", "save"]

# files that hold what the figures share, not a figure
SHARED = frozenset({"style", "embedding", "phase", "palette"})

# None takes the field out: a date would give every run other bytes
METADATA = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}


def names(of=""):
    """Names of all figures of a result, or of what the folder `of` holds those of, in alphabetical order."""
    modules = pkgutil.iter_modules([str(Path(__path__[0], of))])
    return tuple(sorted({module.name for module in modules if not module.ispkg} - SHARED))


def load(name, of=""):
    """Return the `draw` function of the figure called `name`, `of` as for `names`; InputError if there is none."""
    if name not in names(of):
        raise InputError(f"no figure {name!r} ({choices(names(of), name)}).")
    return importlib.import_module(".".join(filter(None, [__name__, of, name]))).draw


def save(figure, path, dpi):
    """Write `figure` to `path` (.png, .pdf or .svg): the same figure gives the same bytes on every run.

    `dpi` is the resolution of PNG and of rasterised layers inside PDF and SVG.  PNG files have few colours
    (`with_palette`).  Raises InputError for another suffix.
    """
    path = Path(path)
    if path.suffix not in METADATA:
        raise InputError(f"cannot write {path.name}: the suffix must be one of {', '.join(METADATA)}.")
    drawn = io.BytesIO()
    with settings(Style()):
        figure.savefig(drawn, format=path.suffix[1:], dpi=dpi, metadata=METADATA[path.suffix])
    if path.suffix == ".png":
        picture = with_palette(Image.open(drawn).convert("RGB"), kept=_colours_of_legends(figure))
        picture.save(path, optimize=True, dpi=(dpi, dpi))
    else:
        path.write_bytes(drawn.getvalue())


def _colours_of_legends(figure):
    """Colours (0 ... 255, three each) by which the first 64 entries of the legends are told apart."""
    handles = [handle for legend in figure.legends for handle in legend.legend_handles]
    colours = [handle.get_facecolor() if isinstance(handle, Patch) else handle.get_color() for handle in handles]
    return [[round(255 * channel) for channel in to_rgb(colour)] for colour in colours[:64]]
