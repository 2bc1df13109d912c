"""Where on the embedding the methods agree, and where each of them agrees with the truth."""

from veloshard.comparison import ALL, TRUTH
from veloshard.figures.embedding import COLOURBAR_WIDTH, draw_values, embedding_panels, positions_of
from veloshard.figures.style import set_title, styled

# yellow by chance, blue where the methods agree, red where they point opposite ways: many shades among those that agree
COLOURS = {"cmap": "RdYlBu", "limits": (-1, 1)}


@styled
def draw(compared, *, style):
    """Draw the mean cosine of each cell over all pairs of methods, of each with the others, and with the truth."""
    labels = {name: _label(name) for name in compared.obs}
    if sum(TRUTH not in name for name in labels) == 3:
        # of two methods all three are the same
        labels = {name: label for name, label in labels.items() if name == ALL or TRUTH in name}
    figure, panels = embedding_panels(compared, style, n_panels=len(labels), beside=COLOURBAR_WIDTH)
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        values = compared.obs[name].to_numpy()
        draw_values(axes, positions_of(compared), values, style=style, label="cosine", **COLOURS)
        axes.set_title(label)
    set_title(figure, compared, "Cosine of velocities by different methods")
    return figure


def _label(name):
    if name == ALL:
        return "all methods"
    return f"{name.removesuffix(TRUTH)}with the truth" if TRUTH in name else f"{name} with the others"
