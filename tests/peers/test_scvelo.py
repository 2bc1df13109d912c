"""scVelo reads velocity.h5ad without changes and computes the same graph, confidence and latent time."""

import pytest

pytestmark = pytest.mark.peers

# We and scVelo compute in single precision from the same layers, and differ in the order of sums over genes. Cosines
# differ by about 1e-6, and by more after the square roots of the stochastic graph.
COSINE_TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=["dynamical", "stochastic"])
def method(request):
    return request.param


@pytest.fixture(scope="module")
def figures(tmp_path_factory, method):
    return tmp_path_factory.mktemp(method)


@pytest.fixture(scope="module")
def answers(ask_client, small_run, method, figures):
    return ask_client("scvelo", small_run / "demo" / method / "velocity.h5ad", figures)


@pytest.mark.parametrize("figure", ["stream", "phase_portrait"])
def test_scvelo_draws_figure(answers, figures, figure):
    # an empty figure takes about 3 kB
    assert (figures / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.parametrize("part", ["velocity_graph", "velocity_graph_neg"])
def test_scvelo_computes_the_same_graph(answers, part):
    assert answers[part]["edges"] > 0
    assert answers[part]["largest_difference"] < COSINE_TOLERANCE


def test_scvelo_computes_the_same_confidence(answers):
    assert answers["velocity_confidence"]["fraction_compared"] > 0.95
    assert answers["velocity_confidence"]["largest_difference"] < COSINE_TOLERANCE


def test_scvelo_computes_the_same_length(answers):
    assert answers["velocity_length"]["fraction_compared"] == 1
    # scVelo rounds to two decimals
    assert answers["velocity_length"]["largest_difference"] < 0.0051


# no other method has a latent time
@pytest.mark.parametrize("method", ["dynamical"], indirect=True)
def test_scvelo_computes_a_similar_latent_time(answers):
    assert answers["latent_time"]["finite"]
    # scVelo may use other root cells than those of the root cluster in the config
    assert answers["latent_time"]["spearman"] > 0.9
