"""Velocities as arrows on a regular grid over the cells of the embedding."""

import numpy as np

from veloshard.figures.embedding import cluster_map, draw_arrows, positions_of, velocities_of
from veloshard.figures.style import INK, set_title, styled
from veloshard.projection import arrow_mask, grid_field


@styled
def draw(result, *, style, density=0.6, smooth=0.5, min_mass=1.0, arrow_length=1.0):
    """Draw the mean velocity at the points of a grid over the cells in the colours of their clusters.

    density : 1 for 50 arrows along each axis.
    smooth : how far velocities are averaged, in steps of the grid.
    min_mass : per cent of the highest density of cells below which no arrow is drawn.
    arrow_length : 1 for arrows of which the longest just reach the next but one point of the grid.
    """
    field = grid_field(positions_of(result), velocities_of(result), density=density, smooth=smooth)
    chosen = arrow_mask(field, min_mass=min_mass)
    rows, columns = np.nonzero(chosen)
    figure, axes = cluster_map(result, style)
    draw_arrows(
        axes,
        np.column_stack([field.x[columns], field.y[rows]]),
        field.vectors[:, chosen].T,
        typical_length=1.5 * arrow_length * (field.x[1] - field.x[0]),
        color=INK,
    )
    set_title(figure, result, "Velocity field")
    return figure
