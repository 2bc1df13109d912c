"""Agreement of methods has known values where methods are the same, opposite or know the truth."""

import numpy as np
import pytest
from cells import line, ring
from scipy.stats import spearmanr
from veloshard import agreement
from veloshard.agreement import cell_agreement, cluster_coherence, order_agreement, velocity_agreements


def compared(velocities, genes=None):
    """Agreements of velocities (n_genes, n_cells) by name, in all genes unless said otherwise."""
    everywhere = {name: np.ones(len(values), dtype=bool) for name, values in velocities.items()}
    n_cells = next(iter(velocities.values())).shape[1]
    return velocity_agreements(lambda name, rows: velocities[name][rows], everywhere | (genes or {}), n_cells)


@pytest.fixture
def velocity():
    return np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)


def test_a_method_agrees_with_itself_and_not_with_its_opposite(velocity):
    found = compared({"one": velocity, "same": velocity, "reversed": -velocity})
    assert list(found) == [("one", "same"), ("one", "reversed"), ("same", "reversed")]
    for pair, (correlation, sign) in zip(found, [(1, 1), (-1, 0), (-1, 0)], strict=True):
        np.testing.assert_allclose(found[pair].cosines, np.full(50, correlation), rtol=1e-6)
        np.testing.assert_allclose(found[pair].ranks_of_genes, np.full(50, correlation))
        np.testing.assert_allclose(found[pair].ranks_of_cells, np.full(30, correlation))
        assert (found[pair].signs == sign).all()


def test_ranks_of_cells_are_free_of_the_scale_of_genes(velocity):
    scales = np.geomspace(1e-3, 1e3, 30, dtype=np.float32)[:, None]
    (found,) = compared({"one": velocity, "scaled": velocity * scales}).values()
    np.testing.assert_allclose(found.ranks_of_cells, np.ones(30))
    assert np.median(found.cosines) < 0.9


def test_numbers_are_those_of_the_genes_that_both_have(velocity):
    rng = np.random.default_rng(1)
    other = (velocity + rng.normal(size=velocity.shape)).astype(np.float32)
    first, second = rng.random((2, 30)) < 0.7
    other[~second] = np.nan  # genes without a fit
    (found,) = compared({"one": velocity, "other": other}, {"one": first, "other": second}).values()
    a, b = velocity[first & second], other[first & second]
    cell, gene = 7, 3
    assert found.cosines[cell] == pytest.approx(
        a[:, cell] @ b[:, cell] / np.linalg.norm(a[:, cell]) / np.linalg.norm(b[:, cell]), rel=1e-5
    )
    assert found.ranks_of_genes[cell] == pytest.approx(spearmanr(a[:, cell], b[:, cell]).statistic)
    assert found.ranks_of_cells[gene] == pytest.approx(spearmanr(a[gene], b[gene]).statistic)
    assert found.signs[gene] == pytest.approx(np.mean(np.sign(a[gene]) == np.sign(b[gene])))
    assert len(found.signs) == len(a)


def test_blocks_of_genes_change_nothing_but_the_memory(velocity, monkeypatch):
    other = np.roll(velocity, 1, axis=0)
    (whole,) = compared({"one": velocity, "other": other}).values()
    read = []
    monkeypatch.setattr(agreement, "BLOCK", 4 * velocity.shape[1])
    (blocks,) = velocity_agreements(
        lambda name, rows: read.append(len(rows)) or {"one": velocity, "other": other}[name][rows],
        dict.fromkeys(["one", "other"], np.ones(30, dtype=bool)),
        50,
    ).values()
    assert max(read) == 4
    for expected, found in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_cells_at_rest_and_methods_without_a_common_gene_agree_about_nothing(velocity):
    still = velocity.copy()
    still[:, 4] = 0
    still[2] = 0
    (found,) = compared({"one": velocity, "still": still}).values()
    assert np.flatnonzero(np.isnan(found.cosines)).tolist() == [4]
    assert np.flatnonzero(np.isnan(found.signs)).tolist() == [2]
    halves = {"one": np.arange(30) < 15, "other": np.arange(30) >= 15}
    (found,) = compared({"one": velocity, "other": velocity}, halves).values()
    assert np.isnan(found.cosines).all()
    assert len(found.signs) == 0


def test_a_cell_agrees_by_the_mean_over_the_pairs_that_know_it(velocity):
    still = -velocity
    still[:, 0] = 0
    found = compared({"one": velocity, "same": velocity, "reversed": still})
    of_cells = cell_agreement(found, ["one", "reversed"])
    np.testing.assert_allclose(of_cells["one"], [1, *[0] * 49], atol=1e-6)
    np.testing.assert_allclose(of_cells["reversed"], [np.nan, *[-1] * 49], atol=1e-6)


def test_orders_agree_by_rank_where_both_methods_have_them():
    time = np.linspace(0, 1, 200)
    first = {"velocity_pseudotime": time, "latent_time": time, "end_points": time}
    second = {"velocity_pseudotime": 1 - time**3, "model_time": time, "end_points": np.roll(time, 5)}
    found = order_agreement(first, second)
    assert found["velocity_pseudotime"] == pytest.approx(-1)
    assert np.isnan([found["latent_time"], found["model_time"]]).all()
    # ten ends each, of which five are common
    assert found["end_cells"] == pytest.approx(5 / 15)
    assert np.isnan(order_agreement(first, {"velocity_pseudotime": time})["end_cells"])


def test_ends_are_cells_with_a_score():
    scores = np.zeros(100)
    scores[:2] = 1
    assert np.flatnonzero(agreement.end_cells(scores)).tolist() == [0, 1]
    assert not agreement.end_cells(np.zeros(100)).any()


def coherence(velocity, distances, codes):
    """Of velocities (n_cells, n_genes), in all genes."""
    genes = np.ones(velocity.shape[1], dtype=bool)
    return cluster_coherence(lambda rows: velocity.T[rows], genes, distances, codes)


def test_neighbours_on_a_line_are_coherent_within_their_clusters_only():
    _, velocity, distances = line()
    halves = np.repeat([0, 1], 40)
    assert coherence(velocity, distances, halves) == pytest.approx(1)
    # the second half turns round: neighbours of the other cluster do not count
    velocity[40:] *= -1
    assert coherence(velocity, distances, halves) == pytest.approx(1)
    assert coherence(velocity, distances, np.zeros(80, dtype=int)) < 0.99


def test_coherence_is_a_mean_over_clusters_however_large():
    _, velocity, distances = line()
    codes = np.repeat([0, 1, -1], [60, 12, 8])
    velocity[60:72] = np.random.default_rng(0).normal(size=(12, 12))
    slow = []
    for code in (0, 1):
        cosines = []
        for cell in np.flatnonzero(codes == code):
            near = distances.indices[distances.indptr[cell] : distances.indptr[cell + 1]]
            near = near[codes[near] == code]
            if len(near):
                lengths = np.linalg.norm(velocity[near], axis=1) * np.linalg.norm(velocity[cell])
                cosines.append(np.mean(velocity[near] @ velocity[cell] / lengths))
        slow.append(np.mean(cosines))
    assert coherence(velocity, distances, codes) == pytest.approx(np.mean(slow), rel=1e-5)


def test_without_neighbours_of_one_cluster_there_is_no_coherence():
    _, velocity, distances = ring()
    assert np.isnan(coherence(velocity, distances, np.arange(80)))
    assert np.isnan(coherence(velocity, distances, np.full(80, -1)))
