"""Where on the embedding the methods agree, and where each of them agrees with the truth."""

from veloshard.comparison import ALL, TRUTH
from veloshard.figures.embedding import columns_map
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
    figure = columns_map(compared, style, labels, computed_by="the comparison", **COLOURS)
    set_title(figure, compared, "Cosine of velocities by different methods")
    return figure


def _label(name):
    if name == ALL:
        return "all methods"
    return f"{name.removesuffix(TRUTH)}with the truth" if TRUTH in name else f"{name} with the others"
