"""What posterior samples of the velocity agree about: direction on the embedding and over the genes, and length.

For every method that has samples, one at a time: memory does not grow with their number.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

from veloshard.graph import scaled_to_range, velocity_graph
from veloshard.projection import displacements
from veloshard.transition import transition_matrix

# whose velocity graph is made at once
CELLS_AT_ONCE = 20_000


class Uncertainty(NamedTuple):
    """Columns of the cells, float64 (n_cells,).

    magnitude, magnitude_sd : mean and standard deviation of the velocity's norm over the genes.
    cosine, cosine_sd : of the samples with their mean velocity, each centred over the genes (VELOVI's, Gayoso et al.
        2023).
    angle : circular mean of the arrows on the embedding, in radians, in (-pi, pi].
    resultant : mean resultant length of these angles, 0 to 1: 1 where all samples point the same way.
    rayleigh_p, rayleigh_q : of Rayleigh's test that they point anywhere (Mardia and Jupp 2000), and its false discovery
        rate over the cells (Benjamini and Hochberg 1995).  With many samples the least preference is significant: it
        says that samples agree, not how much, which `resultant` does, and not that they are right.
    """

    magnitude: np.ndarray
    magnitude_sd: np.ndarray
    cosine: np.ndarray
    cosine_sd: np.ndarray
    angle: np.ndarray
    resultant: np.ndarray
    rayleigh_p: np.ndarray
    rayleigh_q: np.ndarray


def score_samples(
    sample,
    n_samples,
    moments,
    distances,
    embedding,
    *,
    sqrt_transform=False,
    scale_genes=False,
    cells_at_once=CELLS_AT_ONCE,
):
    """`Uncertainty` of the velocities of all cells.

    sample : function that returns one of the `n_samples` by its number, float32 (n_cells, n_genes), no NaN.
    moments : float32 (n_cells, n_genes).   distances : CSR (n_cells, n_cells).   embedding : (n_cells, 2).
    sqrt_transform, scale_genes : as for the velocity graph, which the arrows follow.
    cells_at_once : of this the memory depends, and nothing else.
    NaN for cells without a place, and in `angle` for those whose samples cancel; a cell without an arrow in one sample
    counts as without a direction there.  Raises ValueError of fewer than two samples.
    """
    if n_samples < 2:
        raise ValueError(f"{n_samples} samples of the velocity say nothing of its uncertainty")
    mean = _centred(sum(sample(number).astype(np.float64) for number in range(n_samples)) / n_samples)
    positions = scaled_to_range(moments, moments)[0] if scale_genes else moments
    lengths, cosines = _Moments(len(moments)), _Moments(len(moments))
    directions = np.zeros(len(moments), dtype=np.complex128)
    for number in range(n_samples):
        velocity = sample(number)
        lengths.add(np.linalg.norm(velocity.astype(np.float64), axis=1))
        cosines.add(_cosine(_centred(velocity), mean))
        if scale_genes:
            _, velocity = scaled_to_range(moments, velocity)
        arrows = _arrows(velocity, positions, distances, embedding, sqrt_transform, cells_at_once)
        directions += _unit(arrows[:, 0] + 1j * arrows[:, 1])
    resultant = np.abs(directions) / n_samples
    p_value = rayleigh(resultant, n_samples)
    q_value = np.full_like(p_value, np.nan)
    known = np.isfinite(p_value)
    q_value[known] = stats.false_discovery_control(p_value[known])
    return Uncertainty(
        lengths.mean, lengths.deviation, cosines.mean, cosines.deviation,
        np.where(resultant > 0, np.angle(directions), np.nan), resultant, p_value, q_value,
    )  # fmt: skip


def rayleigh(resultant, n_samples):
    """p-value of Rayleigh's test that directions are uniform, (n_cells,).

    exp(sqrt(1 + 4 n + 4 (n^2 - R^2)) - (1 + 2 n)), R = n * resultant: within a thousandth of the exact value from ten
    samples (Zar 2010, 27.4).   resultant : mean resultant length, (n_cells,) in [0, 1].
    """
    total = n_samples * np.asarray(resultant, dtype=np.float64)
    inside = 1 + 4 * n_samples + 4 * (n_samples**2 - total**2)
    return np.minimum(np.exp(np.sqrt(inside) - (1 + 2 * n_samples)), 1.0)


class _Moments:
    """Mean and standard deviation of arrays that come one by one (Welford 1962)."""

    def __init__(self, n_cells):
        self.number, self.mean, self._squares = 0, np.zeros(n_cells), np.zeros(n_cells)

    def add(self, values):
        self.number += 1
        difference = values - self.mean
        self.mean = self.mean + difference / self.number
        self._squares = self._squares + difference * (values - self.mean)

    @property
    def deviation(self):
        return np.sqrt(self._squares / (self.number - 1))


def _arrows(velocity, moments, distances, embedding, sqrt_transform, cells_at_once):
    """Arrows of all cells, (n_cells, n_dims), of any length: what the walk along the graph says of each cell alone."""
    n_cells, blocks = len(moments), []
    for first in range(0, n_cells, cells_at_once):
        stop = min(first + cells_at_once, n_cells)
        rows = velocity_graph(moments, velocity[first:stop], distances, first_cell=first, sqrt_transform=sqrt_transform)
        # all other rows are empty
        indptr = np.concatenate([np.zeros(first, rows.indptr.dtype), rows.indptr, np.full(n_cells - stop, rows.nnz)])
        graph = sparse.csr_matrix((rows.data, rows.indices, indptr), shape=(n_cells, n_cells))
        walk = transition_matrix(graph, use_negative_cosines=True)
        blocks.append(displacements(walk, embedding)[first:stop])
    return np.concatenate(blocks)


def _centred(velocity):
    return velocity - velocity.mean(axis=1, keepdims=True, dtype=np.float64)


def _cosine(first, second):
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("cg,cg->c", first, second) / np.where(lengths > 0, lengths, 1)


def _unit(numbers):
    """Complex numbers of length one; zero stays, NaN too."""
    lengths = np.abs(numbers)
    return np.divide(numbers, lengths, out=numbers.copy(), where=lengths > 0)
