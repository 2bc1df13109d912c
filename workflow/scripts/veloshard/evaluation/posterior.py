"""Scores of posterior draws of the velocity: how well the draws of a cell agree in direction and length.

The draws are read one at a time, so that memory does not grow with their number.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import unscaled_velocity_embedding
from veloshard.graph.velocity_graph import compute_velocity_graph, scale_to_range
from veloshard.statistics import false_discovery_rates

# number of cells whose velocity graph is computed at once
CELLS_AT_ONCE = 20_000


class PosteriorScores(NamedTuple):
    """Scores of the posterior draws of each cell's velocity, float64 with shape (n_cells,).

    Attributes
    ----------
    magnitude, magnitude_sd : ndarray of float64, shape (n_cells,)
        Mean and standard deviation of the norm over the genes.
    cosine, cosine_sd : ndarray of float64, shape (n_cells,)
        Mean and standard deviation of the cosine between a draw and the mean of all draws, which are both centered over
        the genes (as in veloVI, Gayoso et al. 2023).
    angle : ndarray of float64, shape (n_cells,)
        Circular mean of the direction on the embedding, in radians, in (-pi, pi].
    resultant : ndarray of float64, shape (n_cells,)
        Mean resultant length of these directions, in [0, 1]. It is 1 if all draws have the same direction.
    rayleigh_p, rayleigh_q : ndarray of float64, shape (n_cells,)
        P-value of Rayleigh's test of uniform directions (Mardia and Jupp 2000), and its false discovery rate over the
        cells (Benjamini and Hochberg 1995). With many draws, a weak preference is significant. The test says that draws
        agree, `resultant` says how well. Neither says that they are correct.
    """

    magnitude: np.ndarray
    magnitude_sd: np.ndarray
    cosine: np.ndarray
    cosine_sd: np.ndarray
    angle: np.ndarray
    resultant: np.ndarray
    rayleigh_p: np.ndarray
    rayleigh_q: np.ndarray


def score_posterior(
    read_draw,
    n_draws,
    moments,
    distances,
    embedding,
    *,
    sqrt_transform=False,
    scale_genes=False,
    cells_at_once=CELLS_AT_ONCE,
):
    """Return the scores of the posterior draws of all cells.

    Parameters
    ----------
    read_draw : callable
        Function of the number of a draw. It returns the velocities, float32 with shape (n_cells, n_genes), without NaN.
    n_draws : int
        Number of draws, at least 2.
    moments : ndarray of float32, shape (n_cells, n_genes)
        Spliced moments in the same genes.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    embedding : ndarray of float, shape (n_cells, 2)
        Coordinates of the cells.
    sqrt_transform, scale_genes : bool
        Options of the velocity graph, from which the directions on the embedding are computed.
    cells_at_once : int
        Number of cells whose velocity graph is computed at once. It affects memory only.

    Returns
    -------
    PosteriorScores
        Directional scores are NaN for cells that are not on the embedding. `angle` is also NaN where the directions
        cancel. A draw with a zero velocity on the embedding has no direction in `resultant`.

    Raises
    ------
    ValueError
        If there are fewer than two draws.
    """
    if n_draws < 2:
        raise ValueError(f"n_draws is {n_draws}: scores of posterior draws require at least 2 draws of the velocity")
    mean = _centered(sum(read_draw(number).astype(np.float64) for number in range(n_draws)) / n_draws)
    graph_moments = scale_to_range(moments, moments)[0] if scale_genes else moments
    lengths, cosines = _RunningMoments(len(moments)), _RunningMoments(len(moments))
    sum_of_directions = np.zeros(len(moments), dtype=np.complex128)
    for number in range(n_draws):
        velocity = read_draw(number)
        lengths.add(np.linalg.norm(velocity.astype(np.float64), axis=1))
        cosines.add(_cosine(_centered(velocity), mean))
        if scale_genes:
            _, velocity = scale_to_range(moments, velocity)
        velocity_embedding = _velocity_embedding(
            velocity, graph_moments, distances, embedding, sqrt_transform, cells_at_once
        )
        sum_of_directions += _unit(velocity_embedding[:, 0] + 1j * velocity_embedding[:, 1])
    resultant = np.abs(sum_of_directions) / n_draws
    p_value = rayleigh(resultant, n_draws)
    return PosteriorScores(
        magnitude=lengths.mean,
        magnitude_sd=lengths.standard_deviation,
        cosine=cosines.mean,
        cosine_sd=cosines.standard_deviation,
        angle=np.where(resultant > 0, np.angle(sum_of_directions), np.nan),
        resultant=resultant,
        rayleigh_p=p_value,
        rayleigh_q=false_discovery_rates(p_value),
    )


def rayleigh(resultant, n_draws):
    """Return the p-value of Rayleigh's test that directions are uniform.

    It is exp(sqrt(1 + 4 n + 4 (n^2 - R^2)) - (1 + 2 n)) with R = n * resultant, which is within 0.001 of the exact
    value for at least ten draws (Zar 2010, 27.4).

    Parameters
    ----------
    resultant : ndarray of float, shape (n_cells,)
        Mean resultant length of the directions, in [0, 1].
    n_draws : int
        Number of directions.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        P-value, at most 1.
    """
    total = n_draws * np.asarray(resultant, dtype=np.float64)
    squares = 1 + 4 * n_draws + 4 * (n_draws**2 - total**2)
    return np.minimum(np.exp(np.sqrt(squares) - (1 + 2 * n_draws)), 1.0)


class _RunningMoments:
    """Mean and standard deviation of arrays that are added one at a time (Welford 1962)."""

    def __init__(self, n_cells):
        self.n_added, self.mean, self._squares = 0, np.zeros(n_cells), np.zeros(n_cells)

    def add(self, values):
        self.n_added += 1
        difference = values - self.mean
        self.mean = self.mean + difference / self.n_added
        self._squares = self._squares + difference * (values - self.mean)

    @property
    def standard_deviation(self):
        return np.sqrt(self._squares / (self.n_added - 1))


def _velocity_embedding(velocity, moments, distances, embedding, sqrt_transform, cells_at_once):
    """Return the unscaled velocity embedding of all cells, computed for some cells at a time."""
    n_cells, blocks = len(moments), []
    for first in range(0, n_cells, cells_at_once):
        stop = min(first + cells_at_once, n_cells)
        rows = compute_velocity_graph(
            moments, velocity[first:stop], distances, first_cell=first, sqrt_transform=sqrt_transform
        )
        # a graph of all cells, in which the other rows are empty
        indptr = np.concatenate([np.zeros(first, rows.indptr.dtype), rows.indptr, np.full(n_cells - stop, rows.nnz)])
        graph = sparse.csr_matrix((rows.data, rows.indices, indptr), shape=(n_cells, n_cells))
        transition_matrix = compute_transition_matrix(graph, use_negative_cosines=True)
        blocks.append(unscaled_velocity_embedding(transition_matrix, embedding)[first:stop])
    return np.concatenate(blocks)


def _centered(velocity):
    return velocity - velocity.mean(axis=1, keepdims=True, dtype=np.float64)


def _cosine(first, second):
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("cg,cg->c", first, second) / np.where(lengths > 0, lengths, 1)


def _unit(numbers):
    """Return complex numbers divided by their absolute values, except for 0 and NaN."""
    lengths = np.abs(numbers)
    return np.divide(numbers, lengths, out=numbers.copy(), where=lengths > 0)
