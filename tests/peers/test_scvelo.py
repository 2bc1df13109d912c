"""scVelo opens velocity.h5ad unchanged and finds in it what we found."""

import pytest

pytestmark = pytest.mark.peers

# We and scVelo work in float32 from the same float32 layers and differ in the order of sums over genes:
# about 1e-6 in a cosine; the square roots of the stochastic graph widen it.
FLOAT32_COSINE = 1e-4


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
    # an empty pair of axes takes about 3 kB
    assert (figures / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.parametrize("part", ["velocity_graph", "velocity_graph_neg"])
def test_scvelo_computes_the_same_graph(answers, part):
    assert answers[part]["edges"] > 0
    assert answers[part]["largest_difference"] < FLOAT32_COSINE


def test_scvelo_computes_the_same_confidence(answers):
    assert answers["velocity_confidence"]["compared"] > 0.95
    assert answers["velocity_confidence"]["largest_difference"] < FLOAT32_COSINE


def test_scvelo_computes_the_same_length(answers):
    assert answers["velocity_length"]["compared"] == 1
    # scVelo rounds to two decimals
    assert answers["velocity_length"]["largest_difference"] < 0.0051


# the only method with a latent time
@pytest.mark.parametrize("method", ["dynamical"], indirect=True)
def test_scvelo_computes_an_agreeing_latent_time(answers):
    assert answers["latent_time"]["finite"]
    # the same idea, but scVelo may start from other cells than the root that the config names
    assert answers["latent_time"]["spearman"] > 0.9
