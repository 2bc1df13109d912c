"""Agreement of the methods on the embedding, and of each method with the truth."""

from veloshard.evaluation.comparison import ALL, TRUTH
from veloshard.plotting._shared.embedding import COLORBAR_WIDTH, draw_values, embedding_of, embedding_panels
from veloshard.plotting._shared.style import set_title, styled

# blue where methods agree, yellow for a cosine of 0, red where they point in opposite directions
COLORS = {"cmap": "RdYlBu", "limits": (-1, 1)}


@styled
def draw(comparison, *, style):
    """Draw the mean cosine of each cell over all pairs of methods, over the pairs of each method, and with the truth.

    Parameters
    ----------
    comparison : Comparison
        Comparison of the methods of a dataset.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per mean.
    """
    labels = {name: _label(name) for name in comparison.obs}
    if sum(TRUTH not in name for name in labels) == 3:
        # two methods have one pair, so that the three means are equal
        labels = {name: label for name, label in labels.items() if name == ALL or TRUTH in name}
    figure, panels = embedding_panels(comparison, style, n_panels=len(labels), extra_width=COLORBAR_WIDTH)
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        values = comparison.obs[name].to_numpy()
        draw_values(axes, embedding_of(comparison), values, style=style, label="cosine", **COLORS)
        axes.set_title(label)
    set_title(figure, comparison, "Cosine of velocities of different methods")
    return figure


def _label(name):
    if name == ALL:
        return "all methods"
    return f"{name.removesuffix(TRUTH)}with the truth" if TRUTH in name else f"{name} with the others"
