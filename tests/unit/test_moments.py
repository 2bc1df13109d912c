"""Moments are means over neighborhoods, in single precision and in the order of the neighbors."""

import naive
import numpy as np
import pytest
from cells import with_threads
from scipy import sparse
from veloshard.moments import first_moments, neighborhood, sampling_variances, second_moments
from veloshard.neighbors import connectivity_weights


@pytest.fixture
def counts():
    """Spliced and unspliced counts of 70 cells and 9 genes, CSC float32."""
    rng = np.random.default_rng(0)
    return [sparse.csc_matrix(rng.poisson(mean, (70, 9)).astype(np.float32)) for mean in (2.0, 0.5)]


@pytest.fixture
def weights():
    """Averaging weights of a sparse symmetric graph; the last cell is joined to none."""
    edges = np.triu(np.random.default_rng(1).random((70, 70)) < 0.1, k=1)
    edges[:, -1] = False
    return connectivity_weights(sparse.csr_matrix((edges + edges.T) * 0.5))


def test_first_moments_are_the_bits_of_scipys_sparse_product(counts, weights):
    spliced, _ = counts
    moments = first_moments(spliced, neighborhood(weights))
    assert moments.dtype == np.float32
    np.testing.assert_array_equal(moments, (weights @ spliced.tocsr()).toarray().T)


def test_moments_are_plain_means_over_the_neighbors(counts, weights):
    spliced, unspliced = (matrix.toarray() for matrix in counts)
    second_ss, second_us = second_moments(*counts, neighborhood(weights))
    for found, values in (
        (first_moments(counts[0], neighborhood(weights)), spliced),
        (second_ss, spliced**2),
        (second_us, spliced * unspliced),
    ):
        # single precision, up to 20 terms
        np.testing.assert_allclose(found.T, naive.neighborhood_means(values, weights.toarray() > 0), rtol=1e-6)


def test_a_cell_without_neighbors_is_its_own_mean(counts, weights):
    moments = first_moments(counts[0], neighborhood(weights))
    np.testing.assert_array_equal(moments[:, -1], counts[0][[-1]].toarray()[0])


def test_moments_do_not_depend_on_threads(counts, weights):
    one, two = (with_threads(n, first_moments, counts[0], neighborhood(weights)) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_moments_do_not_depend_on_the_other_genes(counts, weights):
    whole = first_moments(counts[0], neighborhood(weights))
    np.testing.assert_array_equal(first_moments(counts[0][:, 4:6], neighborhood(weights)), whole[4:6])


def test_no_genes_are_no_moments(counts, weights):
    assert first_moments(counts[0][:, :0], neighborhood(weights)).shape == (0, 70)


def test_sampling_variance_is_that_within_neighborhoods_over_their_size(counts, weights):
    spliced, _ = counts
    around = neighborhood(weights)
    found = sampling_variances(spliced, first_moments(spliced, around), around)
    near = weights.toarray() > 0
    expected = np.mean([np.var(spliced.toarray()[row], axis=0) / row.sum() for row in near], axis=0)
    # moments in single precision are subtracted
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_counts_have_no_sampling_variance(weights):
    around = neighborhood(weights)
    equal = sparse.csc_matrix(np.full((70, 2), 3.0, dtype=np.float32))
    np.testing.assert_allclose(sampling_variances(equal, first_moments(equal, around), around), 0, atol=1e-6)
