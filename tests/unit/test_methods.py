"""Every method in `methods/`, found by file name, keeps the contract."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import yaml
from cells import with_threads
from counted import made_up
from scipy import sparse
from veloshard import contract, methods
from veloshard.errors import InputError
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
# genes of `block` that no method can fit
HOPELESS = {"no spliced": 0, "no unspliced": 1, "nothing": 2}


@pytest.fixture(params=methods.names())
def method(request):
    return request.param


@pytest.fixture(params=[*methods.names(), "dynamical, compatible"])
def options(request):
    """A method with its defaults, or with another solver."""
    method, _, solver = request.param.partition(", ")
    return {"method": method} | ({"solver": solver} if solver else {})


def block():
    """Counts of 60 cells in a row and 15 genes that rise or fall along it; some of them are hopeless."""
    rng = np.random.default_rng(0)
    course = np.linspace(0, 1, 60)[:, None]
    rising = np.arange(15) % 2 == 0
    level = rng.uniform(5, 40, 15) * np.where(rising, course, 1 - course)
    spliced, unspliced = rng.poisson(level).astype(np.float32), rng.poisson(0.4 * level).astype(np.float32)
    spliced[:, [HOPELESS["no spliced"], HOPELESS["nothing"]]] = 0
    unspliced[:, [HOPELESS["no unspliced"], HOPELESS["nothing"]]] = 0
    # seen in one cell; the same everywhere; hardly any unspliced
    spliced[1:, 3], unspliced[1:, 3] = 0, 0
    spliced[:, 4], unspliced[:, 4] = 5, 2
    unspliced[:, 5] = 0
    unspliced[0, 5] = 1
    band = np.abs(np.subtract.outer(range(60), range(60))) <= 3
    return contract.GeneBlock(
        np.array([f"gene{k}" for k in range(15)]),
        sparse.csc_matrix(spliced),
        sparse.csc_matrix(unspliced),
        neighborhood(connectivity_weights(sparse.csr_matrix(band * 1.0))),
    )


def part(whole, start, stop):
    return whole._replace(
        names=whole.names[start:stop],
        spliced=whole.spliced[:, start:stop],
        unspliced=whole.unspliced[:, start:stop],
    )


def test_results_keep_the_contract(method):
    fit = methods.run(block(), method=method)
    contract.check(fit, 15, 60)
    velocity_genes = methods.select(fit.genes, method=method)
    assert velocity_genes.dtype == bool
    assert velocity_genes.sum() >= 5
    assert not velocity_genes[fit.genes["status"] != "ok"].any()


def test_a_gene_that_cannot_be_fitted_is_a_row_with_a_reason(method):
    fit = methods.run(block(), method=method)
    for gene in HOPELESS.values():
        assert fit.genes["status"][gene] == "not_fitted"
    failed = fit.genes["status"] != "ok"
    assert (fit.genes["reason"][failed] != "").all()
    assert (fit.genes["reason"][~failed] == "").all()
    assert fit.genes["reason"][HOPELESS["no unspliced"]] == "no unspliced counts"
    assert fit.genes["reason"][HOPELESS["nothing"]] == "no spliced counts"


@pytest.mark.parametrize("n_shards", [2, 5, 7])
def test_genes_have_the_same_bits_in_any_shard(options, n_shards):
    whole = methods.run(block(), **options)
    bounds = np.linspace(0, 15, n_shards + 1).astype(int)
    shards = [methods.run(part(block(), *pair), **options) for pair in zip(bounds, bounds[1:], strict=False)]
    for column, values in whole.genes.items():
        np.testing.assert_array_equal(np.concatenate([shard.genes[column] for shard in shards]), values)
    for layer, values in whole.layers.items():
        np.testing.assert_array_equal(np.vstack([shard.layers[layer] for shard in shards]), values)


def test_genes_have_the_same_bits_on_any_number_of_threads(options):
    one, two = (with_threads(n_threads, methods.run, block(), **options) for n_threads in (1, 2))
    for name, values in (one.genes | one.layers).items():
        np.testing.assert_array_equal((two.genes | two.layers)[name], values)


def test_a_shard_without_genes_is_an_empty_result(method):
    contract.check(methods.run(part(block(), 4, 4), method=method), 0, 60)


def test_counts_are_left_as_they_are(method):
    given, kept = block(), block()
    methods.run(given, method=method)
    for layer in ("spliced", "unspliced"):
        np.testing.assert_array_equal(getattr(given, layer).toarray(), getattr(kept, layer).toarray())
    assert all(np.array_equal(a, b) for a, b in zip(given.around, kept.around, strict=True))


def test_the_schema_has_the_options_of_the_method_and_their_defaults(method):
    known = yaml.safe_load(SCHEMA.read_text())["$defs"][method]["properties"]
    module = methods.load(method)
    parameters = {}
    for function in (module.fit, module.velocity_genes):
        parameters |= {name: value.default for name, value in inspect.signature(function).parameters.items()}
    parameters = {name: default for name, default in parameters.items() if default is not inspect.Parameter.empty}
    assert parameters == {name: option["default"] for name, option in known.items() if name != "method"}


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no method 'magic' .there are: dynamical, steady_state, stochastic"):
        methods.load("magic")


def test_too_few_velocity_genes_are_refused_with_the_reasons(method):
    fit = methods.run(part(block(), 0, 3), method=method)
    with pytest.raises(
        InputError, match="0 genes can enter .* fitted 0 of 3 genes .2 no spliced counts; 1 no unspliced"
    ):
        methods.select(fit.genes, method=method)


def test_what_was_fitted_is_logged(method, caplog):
    fit = methods.run(block(), method=method)
    with caplog.at_level("INFO"):
        methods.select(fit.genes, method=method)
    assert f"fitted {np.sum(fit.genes['status'] == 'ok')} of 15 genes (" in caplog.text
    assert "2 no spliced counts" in caplog.text


@pytest.mark.parametrize("form", ["fitted", "residual"])
def test_the_form_of_the_velocity_leaves_the_fit_alone(form):
    supported = methods.run(block(), method="dynamical")
    other = methods.run(block(), method="dynamical", velocity=form)
    for column, values in supported.genes.items():
        np.testing.assert_array_equal(other.genes[column], values)
    fitted = supported.genes["status"] == "ok"
    assert not np.array_equal(supported.layers["velocity"][fitted], other.layers["velocity"][fitted])


def test_all_genes_with_counts_can_be_fitted_on_request():
    noisy = block()
    unspliced = noisy.unspliced.toarray()
    unspliced[:, 6] = np.random.default_rng(0).permutation(unspliced[:, 6])
    noisy = noisy._replace(unspliced=sparse.csc_matrix(unspliced))
    chosen = methods.run(noisy, method="dynamical").genes["status"]
    every = methods.run(noisy, method="dynamical", fit_all_genes=True).genes["status"]
    assert set(np.flatnonzero(chosen == "ok")) < set(np.flatnonzero(every == "ok"))


def test_ingested_counts_fit_a_block(method):
    # as they come from a reader: counts that are no smooth course of anything
    counts = made_up()
    given = contract.GeneBlock(
        counts.var_names.to_numpy(),
        *(sparse.csc_matrix(counts.layers[layer]) for layer in ("spliced", "unspliced")),
        neighborhood(connectivity_weights(sparse.csr_matrix((40, 40)))),
    )
    contract.check(methods.run(given, method=method), 12, 40)
