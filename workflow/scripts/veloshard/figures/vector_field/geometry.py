"""What the derivatives of a learned field say of single cells, on the embedding."""

import numpy as np

from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled

# colours end where few cells are beyond: close to a place of rest paths bend without bound
ROBUST = {"percentiles": (2, 98)}
SKEWED = {"percentiles": (0, 95)}
# yellow at 0: grey is for cells without a value, and white for the paper
SIGNED = {"percentiles": (0, 98), "symmetric": True, "cmap": "RdYlBu_r"}
# keys of the file: titles of the panels, labels of their colours, and how values become colours
PANELS = {
    "speed": ("speed", "", ROBUST),
    "acceleration": ("acceleration", "", SKEWED),
    "curvature": ("curvature", "", SKEWED),
    "divergence": ("divergence", "gathers < 0 < spreads", SIGNED),
    "divergence_embedding": ("divergence on the embedding", "gathers < 0 < spreads", SIGNED),
    "curl_embedding": ("curl on the embedding", "clockwise < 0 < counterclockwise", SIGNED),
    "inlier_probability": ("holds to the field", "probability", {"limits": (0, 1)}),
}

# of a panel that stands alone
PANEL_SHARE = 0.75


@styled
def draw(result, found, *, style):
    """Draw speed, acceleration, curvature and divergence of the field at the cells, a panel each, and more.

    That is divergence and curl of the field on the embedding, and the probability of each cell's velocity to hold to
    the field.  Cells with NaN are grey.

    found : float64 (n_cells,) by the names in `PANELS`.
    """
    style = style._replace(panel_size=PANEL_SHARE * style.panel_size)
    figure, panels = embedding_panels(result, style, n_panels=len(PANELS), beside=COLOURBAR_WIDTH)
    for axes, (key, (title, label, colours)) in zip(panels, PANELS.items(), strict=True):
        values = np.asarray(found[key], dtype=np.float64)
        draw_values(axes, positions_of(result), values, style=style, label=label, **colours)
        axes.set_title(title)
    set_title(figure, result, "Geometry of the learned field")
    return figure
