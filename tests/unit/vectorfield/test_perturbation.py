import numpy as np
import pytest
from scipy import sparse
from support import naive
from support.cells import nearest
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.perturbation import (
    PCALoadings,
    gene_effects,
    knock_out_effect,
    perturb_pcs,
    perturbation_effect,
    perturbation_transition_matrix,
)
from veloshard.vectorfield.sparsevfc import VectorField, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")


def complete_pca(n_genes=6, seed=0):
    """Loadings with as many components as genes, and PCA pcs of cells whose expression is at least 1."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(n_genes, n_genes)))[0]
    means = rng.uniform(2, 3, size=n_genes)
    expression = rng.uniform(1, 4, size=(20, n_genes))
    return PCALoadings(loadings, means), (expression - means) @ loadings


def random_pca(n_genes=8, n_dims=3, seed=0):
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(n_genes, n_dims)))[0]
    return PCALoadings(loadings, rng.uniform(0, 1, size=n_genes)), rng.normal(size=(20, n_dims))


def expression_of(pcs, pca):
    return pcs @ pca.loadings.T + pca.means


def random_field(n_dims, seed=1):
    rng = np.random.default_rng(seed)
    return VectorField(rng.normal(size=(30, n_dims)), rng.normal(size=(30, n_dims)), 0.3)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("absolute", 0.0, lambda x: 0 * x),
        ("absolute", 2.5, lambda x: 0 * x + 2.5),
        ("change", -0.5, lambda x: x - 0.5),
        ("fold", 3.0, lambda x: np.log1p(3 * np.expm1(x))),
        ("fold", 0.0, lambda x: 0 * x),
        ("fold", 1.0, lambda x: x),
    ],
)
def test_a_perturbation_changes_the_expression_of_its_gene_only(mode, value, expected):
    pca, pcs = complete_pca()
    before = expression_of(pcs, pca)
    after = expression_of(perturb_pcs(pcs, pca, {4: (mode, value)}), pca)
    np.testing.assert_allclose(after[:, 4], expected(before[:, 4]), atol=1e-12)
    np.testing.assert_allclose(np.delete(after, 4, axis=1), np.delete(before, 4, axis=1), atol=1e-12)


def test_several_genes_are_changed_at_once():
    pca, pcs = complete_pca()
    after = expression_of(perturb_pcs(pcs, pca, {0: ("absolute", 1.0), 5: ("change", 2.0)}), pca)
    np.testing.assert_allclose(after[:, 0], 1, atol=1e-12)
    np.testing.assert_allclose(after[:, 5], expression_of(pcs, pca)[:, 5] + 2, atol=1e-12)


def test_cells_move_along_the_loadings_of_the_gene_only():
    pca, pcs = random_pca()
    displacement = perturb_pcs(pcs, pca, {2: ("absolute", 0.0)}) - pcs
    expected = -np.outer(expression_of(pcs, pca)[:, 2], pca.loadings[2])
    np.testing.assert_allclose(displacement, expected, atol=1e-12)


def test_a_fold_change_of_a_gene_with_negative_reconstructed_expression_has_no_effect():
    pca, pcs = complete_pca()
    # expression of -0.5
    pcs -= np.outer(expression_of(pcs, pca)[:, 1] + 0.5, pca.loadings[1])
    np.testing.assert_allclose(perturb_pcs(pcs, pca, {1: ("fold", 10.0)}), pcs, atol=1e-12)


def test_no_changes_return_a_copy():
    pca, pcs = random_pca()
    perturbed = perturb_pcs(pcs, pca, {})
    np.testing.assert_array_equal(perturbed, pcs)
    assert perturbed is not pcs


def test_an_unknown_mode_raises_an_error():
    pca, pcs = random_pca()
    with pytest.raises(ValueError, match="unknown mode 'double': must be one of absolute, change, fold"):
        perturb_pcs(pcs, pca, {0: ("double", 2.0)})


def test_a_negative_fold_change_raises_an_error():
    pca, pcs = random_pca()
    with pytest.raises(ValueError, match="fold change of counts is -2.0"):
        perturb_pcs(pcs, pca, {0: ("fold", -2.0)})


def test_effect_is_the_jacobian_times_the_displacement():
    pca, pcs = random_pca()
    field, perturbed = random_field(3), perturb_pcs(pcs, pca, {2: ("absolute", 5.0), 3: ("change", -1.0)})
    expected = np.einsum("pde,pe->pd", jacobian(field, pcs), perturbed - pcs)
    np.testing.assert_allclose(perturbation_effect(field, pcs, perturbed), expected, rtol=1e-10, atol=1e-12)


def test_effect_of_a_small_displacement_is_the_difference_of_the_field():
    field, (pca, pcs) = random_field(3), random_pca()
    perturbed = perturb_pcs(pcs, pca, {2: ("change", 1e-6)})
    effect = perturbation_effect(field, pcs, perturbed)
    # up to the square of the displacement
    np.testing.assert_allclose(velocity_at(field, perturbed) - velocity_at(field, pcs), effect, atol=1e-10)
    assert np.abs(effect).max() > 1e-7


def test_transcripts_of_knocked_out_genes_decay_with_rate_one():
    field, (pca, pcs) = random_field(3), random_pca()
    genes = [1, 6]
    rates = velocity_at(field, pcs) @ pca.loadings.T
    rates[:, genes] -= np.abs(expression_of(pcs, pca)[:, genes])
    velocity = velocity_at(field, pcs) + knock_out_effect(pcs, pca, genes)
    np.testing.assert_allclose(velocity, rates @ pca.loadings, atol=1e-12)


def neighbor_graph(n_cells=60, n_dims=3, seed=0):
    rng = np.random.default_rng(seed)
    pcs = rng.normal(size=(n_cells, n_dims))
    return pcs, rng.normal(size=(n_cells, n_dims)), nearest(pcs, 5)


@pytest.mark.parametrize("diffusion", [50.0, 0.1])
def test_transition_matrix_equals_the_naive_implementation(diffusion):
    pcs, vectors, distances = neighbor_graph()
    # two cells with the same pcs
    pcs[9] = pcs[distances[[9]].indices[0]]
    transition_matrix = perturbation_transition_matrix(pcs, vectors, distances, diffusion=diffusion)
    expected = naive.perturbation_transition_matrix(pcs, vectors, distances, diffusion)
    np.testing.assert_allclose(transition_matrix.toarray(), expected, rtol=1e-12)


def test_transitions_are_to_neighbors_and_sum_to_one():
    pcs, vectors, distances = neighbor_graph()
    transition_matrix = perturbation_transition_matrix(pcs, vectors, distances)
    np.testing.assert_allclose(transition_matrix.sum(axis=1), 1, rtol=1e-12)
    assert transition_matrix.has_sorted_indices
    np.testing.assert_array_equal(transition_matrix.toarray() > 0, (distances + distances.T).toarray() > 0)


def test_without_diffusion_transitions_follow_the_vectors_if_a_neighbor_is_ahead():
    pcs, _, distances = neighbor_graph()
    vectors = np.tile([1.0, 0, 0], (60, 1))
    transitions = perturbation_transition_matrix(pcs, vectors, distances, diffusion=1e-12).tocoo()
    is_ahead = pcs[transitions.col, 0] > pcs[transitions.row, 0]
    has_neighbor_ahead = np.bincount(transitions.row, is_ahead) > 0
    is_likely = has_neighbor_ahead[transitions.row] & (transitions.data > 1e-6)
    assert is_likely.sum() > 60
    assert is_ahead[is_likely].all()


def test_a_cell_without_neighbors_has_no_transitions():
    pcs, vectors, distances = neighbor_graph()
    distances = distances.tolil()
    distances[7], distances[:, 7] = 0, 0
    transition_matrix = perturbation_transition_matrix(pcs, vectors, distances.tocsr())
    assert transition_matrix[[7]].nnz == transition_matrix[:, [7]].nnz == 0
    np.testing.assert_allclose(np.delete(transition_matrix.sum(axis=1), 7), 1, rtol=1e-12)


def test_a_cell_has_no_transition_to_itself():
    pcs, vectors, distances = neighbor_graph()
    expected = perturbation_transition_matrix(pcs, vectors, distances)
    with_diagonal = sparse.csr_matrix(distances + sparse.eye(60))
    np.testing.assert_array_equal(
        perturbation_transition_matrix(pcs, vectors, with_diagonal).toarray(), expected.toarray()
    )


def test_neighbors_at_distance_zero_are_neighbors():
    # the distance of 0 is stored
    distances = sparse.csr_matrix((np.array([0.0, 1.0]), ([0, 1], [1, 2])), shape=(3, 3))
    pcs = np.array([[0.0], [0], [1]])
    transition_matrix = perturbation_transition_matrix(pcs, np.ones((3, 1)), distances, diffusion=1.0)
    np.testing.assert_allclose(transition_matrix.toarray(), [[0, 1, 0], [1 / 2.5, 0, 1.5 / 2.5], [0, 1, 0]])


def test_the_block_size_does_not_change_the_result(monkeypatch):
    pcs, vectors, distances = neighbor_graph()
    one_block = perturbation_transition_matrix(pcs, vectors, distances)
    monkeypatch.setattr("veloshard.vectorfield.perturbation.EDGES_PER_BLOCK", 17)
    many_blocks = perturbation_transition_matrix(pcs, vectors, distances)
    assert many_blocks.data.tobytes() == one_block.data.tobytes()


def test_effect_on_genes_is_the_mean_over_each_group():
    pca, _ = random_pca()
    effects = np.random.default_rng(0).normal(size=(20, 3))
    codes = np.array([0, 2, -1, 2] * 5)
    means = gene_effects(effects, pca, codes, 4)
    assert means.shape == (8, 4)
    for group in (0, 2):
        expected = (effects[codes == group] @ pca.loadings.T).mean(axis=0)
        np.testing.assert_allclose(means[:, group], expected, rtol=1e-12, atol=1e-14)
    assert np.isnan(means[:, [1, 3]]).all()
