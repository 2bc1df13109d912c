"""Time of the cells on the embedding."""

from veloshard.plotting._shared.embedding import draw_obs_columns
from veloshard.plotting._shared.style import set_title, styled, time_column

# analyses that the figure shows
INPUTS = ("embedding", "pseudotime")


@styled
def draw(result, *, style):
    """Draw latent time, or velocity pseudotime for methods without latent time.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `obs` has neither.
    """
    column, label = time_column(result)
    figure = draw_obs_columns(result, style, {column: label}, computed_by="the pseudotime")
    set_title(figure, result, label)
    return figure
