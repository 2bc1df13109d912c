"""Confidence and length of the velocities on the embedding."""

from veloshard.plotting._shared.embedding import draw_obs_columns
from veloshard.plotting._shared.style import set_title, styled

# analyses that the figure shows
INPUTS = ("embedding", "confidence", "posterior_scores")

# columns of obs and their labels
COLUMNS = {"velocity_confidence": "Confidence", "velocity_length": "Length"}

# additional column of methods that sample velocities from a posterior distribution
POSTERIOR_COLUMNS = {"velocity_resultant": "Agreement of posterior draws"}

# 2nd and 98th percentile, not min and max: a few extreme cells would take half of the color range
PERCENTILES = (2, 98)


@styled
def draw(result, *, style):
    """Draw confidence and length of the velocities, and the agreement of posterior draws if there are any.

    Parameters
    ----------
    result : AnnData or Result
        A velocity result.
    style : Style
        Style of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with one panel per quantity.

    Raises
    ------
    InputError
        If `obs` lacks the confidence or the length.
    """
    columns = COLUMNS | (POSTERIOR_COLUMNS if POSTERIOR_COLUMNS.keys() <= set(result.obs) else {})
    figure = draw_obs_columns(result, style, columns, computed_by="the confidence", percentiles=PERCENTILES)
    set_title(figure, result, "Velocity confidence and length")
    return figure
