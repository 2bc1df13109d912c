"""Cells of the embedding coloured by their time."""

from veloshard.figures.embedding import columns_map
from veloshard.figures.style import set_title, styled, time_of


@styled
def draw(result, *, style):
    """Draw latent time, or velocity pseudotime where the method has no latent time.

    Raises InputError when `obs` has neither.
    """
    column, name = time_of(result)
    figure = columns_map(result, style, {column: name}, computed_by="a time")
    set_title(figure, result, name)
    return figure
