"""Moments are means over neighborhoods, summed in single precision and in the order of the neighbors."""

import numpy as np
import pytest
from scipy import sparse
from support import naive
from support.cells import with_threads
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.moments import first_moments, sampling_variances, second_moments


@pytest.fixture
def counts():
    """Return spliced and unspliced counts of 70 cells and 9 genes, CSC float32."""
    rng = np.random.default_rng(0)
    return [sparse.csc_matrix(rng.poisson(mean, (70, 9)).astype(np.float32)) for mean in (2.0, 0.5)]


@pytest.fixture
def weights():
    """Return averaging weights of a sparse symmetric graph, in which the last cell has no neighbors."""
    edges = np.triu(np.random.default_rng(1).random((70, 70)) < 0.1, k=1)
    edges[:, -1] = False
    return averaging_weights(sparse.csr_matrix((edges + edges.T) * 0.5))


def test_first_moments_are_bitwise_identical_to_scipys_sparse_product(counts, weights):
    spliced, _ = counts
    moments = first_moments(spliced, as_neighborhood(weights))
    assert moments.dtype == np.float32
    np.testing.assert_array_equal(moments, (weights @ spliced.tocsr()).toarray().T)


def test_moments_are_plain_means_over_the_neighbors(counts, weights):
    spliced, unspliced = (matrix.toarray() for matrix in counts)
    second_ss, second_us = second_moments(*counts, as_neighborhood(weights))
    for moments, values in (
        (first_moments(counts[0], as_neighborhood(weights)), spliced),
        (second_ss, spliced**2),
        (second_us, spliced * unspliced),
    ):
        # tolerance: single precision, up to 20 terms
        np.testing.assert_allclose(moments.T, naive.neighborhood_means(values, weights.toarray() > 0), rtol=1e-6)


def test_cell_without_neighbors_is_its_own_mean(counts, weights):
    moments = first_moments(counts[0], as_neighborhood(weights))
    np.testing.assert_array_equal(moments[:, -1], counts[0][[-1]].toarray()[0])


def test_moments_do_not_depend_on_threads(counts, weights):
    one, two = (with_threads(n, first_moments, counts[0], as_neighborhood(weights)) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_moments_do_not_depend_on_the_other_genes(counts, weights):
    whole = first_moments(counts[0], as_neighborhood(weights))
    np.testing.assert_array_equal(first_moments(counts[0][:, 4:6], as_neighborhood(weights)), whole[4:6])


def test_moments_of_no_genes_are_empty(counts, weights):
    assert first_moments(counts[0][:, :0], as_neighborhood(weights)).shape == (0, 70)


def test_sampling_variance_is_the_variance_within_neighborhoods_over_their_size(counts, weights):
    spliced, _ = counts
    neighborhood = as_neighborhood(weights)
    variances = sampling_variances(spliced, first_moments(spliced, neighborhood), neighborhood)
    is_neighbor = weights.toarray() > 0
    expected = np.mean([np.var(spliced.toarray()[row], axis=0) / row.sum() for row in is_neighbor], axis=0)
    # tolerance: moments in single precision are subtracted
    np.testing.assert_allclose(variances, expected, rtol=1e-5)


def test_equal_counts_have_no_sampling_variance(weights):
    neighborhood = as_neighborhood(weights)
    equal = sparse.csc_matrix(np.full((70, 2), 3.0, dtype=np.float32))
    np.testing.assert_allclose(
        sampling_variances(equal, first_moments(equal, neighborhood), neighborhood), 0, atol=1e-6
    )
