import naive
import numpy as np
import pytest
from cells import nearest
from scipy import sparse
from veloshard.vectorfield import perturbation
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.perturbation import (
    Components,
    effect,
    effect_on_genes,
    loss,
    perturbed,
    walk,
)
from veloshard.vectorfield.sparsevfc import VectorField, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")


def full_basis(n_genes=6, seed=0):
    """Components that lose nothing, and places of cells in them whose expression is at least 1."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(n_genes, n_genes)))[0]
    means = rng.uniform(2, 3, size=n_genes)
    expression = rng.uniform(1, 4, size=(20, n_genes))
    return Components(loadings, means), (expression - means) @ loadings


def some_basis(n_genes=8, n_dims=3, seed=0):
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(n_genes, n_dims)))[0]
    return Components(loadings, rng.uniform(0, 1, size=n_genes)), rng.normal(size=(20, n_dims))


def expressed(places, components):
    return places @ components.loadings.T + components.means


def made_up(n_dims, seed=1):
    rng = np.random.default_rng(seed)
    return VectorField(rng.normal(size=(30, n_dims)), rng.normal(size=(30, n_dims)), 0.3)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("absolute", 0.0, lambda now: 0 * now),
        ("absolute", 2.5, lambda now: 0 * now + 2.5),
        ("change", -0.5, lambda now: now - 0.5),
        ("fold", 3.0, lambda now: np.log1p(3 * np.expm1(now))),
        ("fold", 0.0, lambda now: 0 * now),
        ("fold", 1.0, lambda now: now),
    ],
)
def test_the_gene_is_expressed_as_asked_and_all_others_as_before(mode, value, expected):
    components, places = full_basis()
    before = expressed(places, components)
    after = expressed(perturbed(places, components, {4: (mode, value)}), components)
    np.testing.assert_allclose(after[:, 4], expected(before[:, 4]), atol=1e-12)
    np.testing.assert_allclose(np.delete(after, 4, axis=1), np.delete(before, 4, axis=1), atol=1e-12)


def test_several_genes_change_at_once():
    components, places = full_basis()
    after = expressed(perturbed(places, components, {0: ("absolute", 1.0), 5: ("change", 2.0)}), components)
    np.testing.assert_allclose(after[:, 0], 1, atol=1e-12)
    np.testing.assert_allclose(after[:, 5], expressed(places, components)[:, 5] + 2, atol=1e-12)


def test_cells_move_along_the_loadings_of_the_gene_only():
    components, places = some_basis()
    moved = perturbed(places, components, {2: ("absolute", 0.0)}) - places
    expected = -np.outer(expressed(places, components)[:, 2], components.loadings[2])
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_a_gene_of_which_components_say_less_than_nothing_has_nothing_to_multiply():
    components, places = full_basis()
    # by 0.5 below nothing
    places -= np.outer(expressed(places, components)[:, 1] + 0.5, components.loadings[1])
    np.testing.assert_allclose(perturbed(places, components, {1: ("fold", 10.0)}), places, atol=1e-12)


def test_nothing_changes_where_nothing_is_asked_for():
    components, places = some_basis()
    moved = perturbed(places, components, {})
    np.testing.assert_array_equal(moved, places)
    assert moved is not places


def test_an_unknown_mode_is_refused():
    components, places = some_basis()
    with pytest.raises(ValueError, match="mode 'double' is none of absolute, change, fold"):
        perturbed(places, components, {0: ("double", 2.0)})


def test_counts_are_not_multiplied_by_less_than_nothing():
    components, places = some_basis()
    with pytest.raises(ValueError, match="-2"):
        perturbed(places, components, {0: ("fold", -2.0)})


def test_linear_effect_is_the_jacobian_times_the_move():
    components, places = some_basis()
    field, moved = made_up(3), perturbed(places, components, {2: ("absolute", 5.0), 3: ("change", -1.0)})
    expected = np.einsum("pde,pe->pd", jacobian(field, places), moved - places)
    np.testing.assert_allclose(effect(field, places, moved), expected, rtol=1e-10, atol=1e-12)


def test_the_effect_of_a_small_move_is_the_difference_of_the_field():
    field, (components, places) = made_up(3), some_basis()
    moved = perturbed(places, components, {2: ("change", 1e-6)})
    found = effect(field, places, moved)
    # what is left is the square of the move
    np.testing.assert_allclose(velocity_at(field, moved) - velocity_at(field, places), found, atol=1e-10)
    assert np.abs(found).max() > 1e-7


def test_knocked_out_genes_decay_with_rate_one():
    field, (components, places) = made_up(3), some_basis()
    genes = [1, 6]
    rates = velocity_at(field, places) @ components.loadings.T
    rates[:, genes] -= np.abs(expressed(places, components)[:, genes])
    found = velocity_at(field, places) + loss(places, components, genes)
    np.testing.assert_allclose(found, rates @ components.loadings, atol=1e-12)


def neighborhood(n_cells=60, n_dims=3, seed=0):
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n_cells, n_dims))
    return places, rng.normal(size=(n_cells, n_dims)), nearest(places, 5)


@pytest.mark.parametrize("diffusion", [50.0, 0.1])
def test_walk_equals_the_slow_twin(diffusion):
    places, vectors, distances = neighborhood()
    # two cells in one place
    places[9] = places[distances[[9]].indices[0]]
    found = walk(places, vectors, distances, diffusion=diffusion)
    np.testing.assert_allclose(
        found.toarray(), naive.perturbation_walk(places, vectors, distances, diffusion), rtol=1e-12
    )


def test_steps_lead_to_neighbors_and_their_probabilities_sum_to_one():
    places, vectors, distances = neighborhood()
    found = walk(places, vectors, distances)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert found.has_sorted_indices
    np.testing.assert_array_equal(found.toarray() > 0, (distances + distances.T).toarray() > 0)


def test_without_diffusion_steps_lead_along_the_vectors_wherever_a_neighbor_is():
    places, _, distances = neighborhood()
    found = walk(places, np.tile([1.0, 0, 0], (60, 1)), distances, diffusion=1e-12).tocoo()
    ahead = places[found.col, 0] > places[found.row, 0]
    anybody = np.bincount(found.row, ahead) > 0
    taken = anybody[found.row] & (found.data > 1e-6)
    assert taken.sum() > 60
    assert ahead[taken].all()


def test_a_cell_without_neighbors_stays_without_steps():
    places, vectors, distances = neighborhood()
    distances = distances.tolil()
    distances[7], distances[:, 7] = 0, 0
    found = walk(places, vectors, distances.tocsr())
    assert found[[7]].nnz == found[:, [7]].nnz == 0
    np.testing.assert_allclose(np.delete(found.sum(axis=1), 7), 1, rtol=1e-12)


def test_a_cell_is_no_neighbor_of_itself():
    places, vectors, distances = neighborhood()
    expected = walk(places, vectors, distances)
    itself = sparse.csr_matrix(distances + sparse.eye(60))
    np.testing.assert_array_equal(walk(places, vectors, itself).toarray(), expected.toarray())


def test_neighbors_in_one_place_are_neighbors():
    # their distance is stored, and zero
    distances = sparse.csr_matrix((np.array([0.0, 1.0]), ([0, 1], [1, 2])), shape=(3, 3))
    found = walk(np.array([[0.0], [0], [1]]), np.ones((3, 1)), distances, diffusion=1.0)
    np.testing.assert_allclose(found.toarray(), [[0, 1, 0], [1 / 2.5, 0, 1.5 / 2.5], [0, 1, 0]])


def test_blocks_of_rows_are_all_rows(monkeypatch):
    places, vectors, distances = neighborhood()
    whole = walk(places, vectors, distances)
    monkeypatch.setattr(perturbation, "EDGES_AT_ONCE", 17)
    parts = walk(places, vectors, distances)
    assert parts.data.tobytes() == whole.data.tobytes()


def test_effect_on_genes_is_the_mean_over_each_group():
    components, _ = some_basis()
    effects = np.random.default_rng(0).normal(size=(20, 3))
    codes = np.array([0, 2, -1, 2] * 5)
    found = effect_on_genes(effects, components, codes, 4)
    assert found.shape == (8, 4)
    for group in (0, 2):
        expected = (effects[codes == group] @ components.loadings.T).mean(axis=0)
        np.testing.assert_allclose(found[:, group], expected, rtol=1e-12, atol=1e-14)
    assert np.isnan(found[:, [1, 3]]).all()
