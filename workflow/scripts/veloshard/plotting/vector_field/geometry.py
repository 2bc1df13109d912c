"""Geometry of a learned vector field at the cells, on the embedding."""

import numpy as np

from veloshard.plotting._shared.embedding import COLORBAR_WIDTH, draw_values, embedding_of, embedding_panels
from veloshard.plotting._shared.style import set_title, styled

# colors end at percentiles: curvature is unbounded near fixed points
ROBUST = {"percentiles": (2, 98)}

SKEWED = {"percentiles": (0, 95)}

# yellow at 0: cells without a value are gray, and the background is white
SIGNED = {"percentiles": (0, 98), "symmetric": True, "cmap": "RdYlBu_r"}

# name of the array: title of the panel, label of its colorbar, and color options
PANELS = {
    "speed": ("speed", "", ROBUST),
    "acceleration": ("acceleration", "", SKEWED),
    "curvature": ("curvature", "", SKEWED),
    "divergence": ("divergence", "converging < 0 < diverging", SIGNED),
    "divergence_embedding": ("divergence on the embedding", "converging < 0 < diverging", SIGNED),
    "curl_embedding": ("curl on the embedding", "clockwise < 0 < counterclockwise", SIGNED),
    "inlier_probability": ("inlier probability", "probability", {"limits": (0, 1)}),
}

# panel size as a share of that of a figure with one panel
PANEL_SHARE = 0.75


@styled
def draw(result, values, *, style):
    """Draw geometric quantities of the vector field and the inlier probability at the cells, one panel each.

    Cells with NaN are gray.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    values : dict of str to ndarray of float, shape (n_cells,)
        Values of the cells, by the names in `PANELS`.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    figure, panels = embedding_panels(result, style, n_panels=len(PANELS), extra_width=COLORBAR_WIDTH)
    for axes, (name, (title, label, colors)) in zip(panels, PANELS.items(), strict=True):
        cell_values = np.asarray(values[name], dtype=np.float64)
        draw_values(axes, embedding_of(result), cell_values, style=style, label=label, **colors)
        axes.set_title(title)
    set_title(figure, result, "Geometry of the vector field")
    return figure
