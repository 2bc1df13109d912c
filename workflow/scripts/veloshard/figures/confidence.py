"""How much the velocities of neighbours agree, and how long they are."""

from veloshard.figures.embedding import columns_map
from veloshard.figures.style import set_title, styled

COLUMNS = {"velocity_confidence": "Confidence", "velocity_length": "Length"}
# of methods that sample from a posterior
SAMPLED = {"velocity_resultant": "Agreement of samples"}


@styled
def draw(result, *, style):
    """Draw confidence and length of the velocities on the embedding, and how samples of them agree, one panel each.

    Raises InputError when `obs` lacks one of them.
    """
    # the outermost cells would take up half of the colours
    columns = COLUMNS | (SAMPLED if SAMPLED.keys() <= set(result.obs) else {})
    figure = columns_map(result, style, columns, computed_by="the confidence", percentiles=(2, 98))
    set_title(figure, result, "Velocity confidence and length")
    return figure
