import numpy as np
import pytest
from scipy.stats import spearmanr
from support.cells import line, ring
from veloshard.evaluation.agreement import (
    cell_agreement,
    cluster_coherence,
    end_cells,
    time_agreement,
    velocity_agreements,
)


def compute_agreements(velocities, genes=None):
    """Return the agreements of velocities (n_genes, n_cells) by name, in all genes by default."""
    all_genes = {name: np.ones(len(values), dtype=bool) for name, values in velocities.items()}
    n_cells = next(iter(velocities.values())).shape[1]
    return velocity_agreements(lambda name, rows: velocities[name][rows], all_genes | (genes or {}), n_cells)


@pytest.fixture
def velocity():
    return np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)


def test_agreement_is_one_for_equal_and_minus_one_for_reversed_velocities(velocity):
    agreements = compute_agreements({"one": velocity, "same": velocity, "reversed": -velocity})
    assert list(agreements) == [("one", "same"), ("one", "reversed"), ("same", "reversed")]
    for pair, (correlation, sign) in zip(agreements, [(1, 1), (-1, 0), (-1, 0)], strict=True):
        np.testing.assert_allclose(agreements[pair].cosines, np.full(50, correlation), rtol=1e-6)
        np.testing.assert_allclose(agreements[pair].ranks_of_genes, np.full(50, correlation))
        np.testing.assert_allclose(agreements[pair].ranks_of_cells, np.full(30, correlation))
        assert (agreements[pair].signs == sign).all()


def test_ranks_of_cells_do_not_depend_on_the_scale_of_genes(velocity):
    scales = np.geomspace(1e-3, 1e3, 30, dtype=np.float32)[:, None]
    (agreement,) = compute_agreements({"one": velocity, "scaled": velocity * scales}).values()
    np.testing.assert_allclose(agreement.ranks_of_cells, np.ones(30))
    assert np.median(agreement.cosines) < 0.9


def test_agreement_is_over_the_velocity_genes_of_both_methods(velocity):
    rng = np.random.default_rng(1)
    other = (velocity + rng.normal(size=velocity.shape)).astype(np.float32)
    first, second = rng.random((2, 30)) < 0.7
    other[~second] = np.nan  # genes without a fit
    (agreement,) = compute_agreements({"one": velocity, "other": other}, {"one": first, "other": second}).values()
    a, b = velocity[first & second], other[first & second]
    cell, gene = 7, 3
    assert agreement.cosines[cell] == pytest.approx(
        a[:, cell] @ b[:, cell] / np.linalg.norm(a[:, cell]) / np.linalg.norm(b[:, cell]), rel=1e-5
    )
    assert agreement.ranks_of_genes[cell] == pytest.approx(spearmanr(a[:, cell], b[:, cell]).statistic)
    assert agreement.ranks_of_cells[gene] == pytest.approx(spearmanr(a[gene], b[gene]).statistic)
    assert agreement.signs[gene] == pytest.approx(np.mean(np.sign(a[gene]) == np.sign(b[gene])))
    assert len(agreement.signs) == len(a)


def test_agreement_does_not_depend_on_the_blocks_of_genes(velocity, monkeypatch):
    other = np.roll(velocity, 1, axis=0)
    (whole,) = compute_agreements({"one": velocity, "other": other}).values()
    block_sizes = []
    monkeypatch.setattr("veloshard.evaluation.agreement.BLOCK", 4 * velocity.shape[1])
    (blocks,) = velocity_agreements(
        lambda name, rows: block_sizes.append(len(rows)) or {"one": velocity, "other": other}[name][rows],
        dict.fromkeys(["one", "other"], np.ones(30, dtype=bool)),
        50,
    ).values()
    assert max(block_sizes) == 4
    for expected, values in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_zero_velocities_and_methods_without_common_genes_have_no_agreement(velocity):
    with_zeros = velocity.copy()
    with_zeros[:, 4] = 0
    with_zeros[2] = 0
    (agreement,) = compute_agreements({"one": velocity, "with zeros": with_zeros}).values()
    assert np.flatnonzero(np.isnan(agreement.cosines)).tolist() == [4]
    assert np.flatnonzero(np.isnan(agreement.signs)).tolist() == [2]
    halves = {"one": np.arange(30) < 15, "other": np.arange(30) >= 15}
    (agreement,) = compute_agreements({"one": velocity, "other": velocity}, halves).values()
    assert np.isnan(agreement.cosines).all()
    assert len(agreement.signs) == 0


def test_cell_agreement_is_the_mean_over_the_pairs_with_a_cosine(velocity):
    reversed_velocity = -velocity
    reversed_velocity[:, 0] = 0
    agreements = compute_agreements({"one": velocity, "same": velocity, "reversed": reversed_velocity})
    mean_cosines = cell_agreement(agreements, ["one", "reversed"])
    np.testing.assert_allclose(mean_cosines["one"], [1, *[0] * 49], atol=1e-6)
    np.testing.assert_allclose(mean_cosines["reversed"], [np.nan, *[-1] * 49], atol=1e-6)


def test_pseudotimes_that_both_methods_have_are_compared_by_rank():
    time = np.linspace(0, 1, 200)
    first = {"velocity_pseudotime": time, "latent_time": time, "end_points": time}
    second = {"velocity_pseudotime": 1 - time**3, "model_time": time, "end_points": np.roll(time, 5)}
    agreement = time_agreement(first, second)
    assert agreement["velocity_pseudotime"] == pytest.approx(-1)
    assert np.isnan([agreement["latent_time"], agreement["model_time"]]).all()
    # ten end cells each, of which five are common
    assert agreement["end_cells"] == pytest.approx(5 / 15)
    assert np.isnan(time_agreement(first, {"velocity_pseudotime": time})["end_cells"])


def test_end_cells_have_a_positive_score():
    scores = np.zeros(100)
    scores[:2] = 1
    assert np.flatnonzero(end_cells(scores)).tolist() == [0, 1]
    assert not end_cells(np.zeros(100)).any()


def compute_coherence(velocity, distances, codes):
    """Return the coherence of velocities (n_cells, n_genes) in all genes."""
    genes = np.ones(velocity.shape[1], dtype=bool)
    return cluster_coherence(lambda rows: velocity.T[rows], genes, distances, codes)


def test_coherence_of_a_line_is_over_neighbors_in_the_same_cluster():
    _, velocity, distances = line()
    halves = np.repeat([0, 1], 40)
    assert compute_coherence(velocity, distances, halves) == pytest.approx(1)
    # neighbors in the other cluster are reversed, but do not count
    velocity[40:] *= -1
    assert compute_coherence(velocity, distances, halves) == pytest.approx(1)
    assert compute_coherence(velocity, distances, np.zeros(80, dtype=int)) < 0.99


def test_coherence_is_the_mean_over_clusters_whatever_their_size():
    _, velocity, distances = line()
    codes = np.repeat([0, 1, -1], [60, 12, 8])
    velocity[60:72] = np.random.default_rng(0).normal(size=(12, 12))
    expected = []
    for code in (0, 1):
        cosines = []
        for cell in np.flatnonzero(codes == code):
            neighbors = distances.indices[distances.indptr[cell] : distances.indptr[cell + 1]]
            neighbors = neighbors[codes[neighbors] == code]
            if len(neighbors):
                lengths = np.linalg.norm(velocity[neighbors], axis=1) * np.linalg.norm(velocity[cell])
                cosines.append(np.mean(velocity[neighbors] @ velocity[cell] / lengths))
        expected.append(np.mean(cosines))
    assert compute_coherence(velocity, distances, codes) == pytest.approx(np.mean(expected), rel=1e-5)


def test_coherence_without_neighbors_in_the_same_cluster_is_nan():
    _, velocity, distances = ring()
    assert np.isnan(compute_coherence(velocity, distances, np.arange(80)))
    assert np.isnan(compute_coherence(velocity, distances, np.full(80, -1)))
