"""Every method in `methods/`, discovered by its module name, fulfills the contract."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import sparse
from support.cells import with_threads
from support.counts import two_clusters
from veloshard import contract
from veloshard.errors import InputError
from veloshard.kinetics import methods
from veloshard.neighborhood import as_neighborhood, averaging_weights

DESCRIPTIONS = Path(__file__).parents[3] / "workflow/schemas/methods"
# genes of `block` that no method can fit
UNFITTABLE = {"no spliced": 0, "no unspliced": 1, "nothing": 2}


@pytest.fixture(params=methods.names())
def method(request):
    return request.param


@pytest.fixture(params=[*methods.names(), "dynamical, scvelo"])
def options(request):
    """Return a method with its defaults, or with another solver."""
    method, _, solver = request.param.partition(", ")
    return {"method": method} | ({"solver": solver} if solver else {})


def block():
    """Return 60 cells in one dimension and 15 genes that change along it, some of which cannot be fitted."""
    rng = np.random.default_rng(0)
    position = np.linspace(0, 1, 60)[:, None]
    increasing = np.arange(15) % 2 == 0
    level = rng.uniform(5, 40, 15) * np.where(increasing, position, 1 - position)
    spliced, unspliced = rng.poisson(level).astype(np.float32), rng.poisson(0.4 * level).astype(np.float32)
    spliced[:, [UNFITTABLE["no spliced"], UNFITTABLE["nothing"]]] = 0
    unspliced[:, [UNFITTABLE["no unspliced"], UNFITTABLE["nothing"]]] = 0
    # gene 3 has counts in one cell, gene 4 is constant, gene 5 has one unspliced count
    spliced[1:, 3], unspliced[1:, 3] = 0, 0
    spliced[:, 4], unspliced[:, 4] = 5, 2
    unspliced[:, 5] = 0
    unspliced[0, 5] = 1
    band = np.abs(np.subtract.outer(range(60), range(60))) <= 3
    return contract.GeneBlock(
        np.array([f"gene{k}" for k in range(15)]),
        sparse.csc_matrix(spliced),
        sparse.csc_matrix(unspliced),
        as_neighborhood(averaging_weights(sparse.csr_matrix(band * 1.0))),
    )


def select_genes(genes, start, stop):
    return genes._replace(
        names=genes.names[start:stop],
        spliced=genes.spliced[:, start:stop],
        unspliced=genes.unspliced[:, start:stop],
    )


def test_results_fulfill_the_contract(method):
    fit = methods.run(block(), method=method)
    contract.check(fit, 15, 60)
    velocity_genes = methods.select(fit.genes, method=method)
    assert velocity_genes.dtype == bool
    assert velocity_genes.sum() >= 5
    assert not velocity_genes[fit.genes["status"] != "ok"].any()


def test_genes_that_cannot_be_fitted_stay_in_the_table_with_a_reason(method):
    fit = methods.run(block(), method=method)
    for gene in UNFITTABLE.values():
        assert fit.genes["status"][gene] == "not_fitted"
    failed = fit.genes["status"] != "ok"
    assert (fit.genes["reason"][failed] != "").all()
    assert (fit.genes["reason"][~failed] == "").all()
    assert fit.genes["reason"][UNFITTABLE["no unspliced"]] == "no unspliced counts"
    assert fit.genes["reason"][UNFITTABLE["nothing"]] == "no spliced counts"


@pytest.mark.parametrize("n_shards", [2, 5, 7])
def test_fits_are_bitwise_identical_in_any_shard(options, n_shards):
    whole = methods.run(block(), **options)
    bounds = np.linspace(0, 15, n_shards + 1).astype(int)
    shards = [methods.run(select_genes(block(), *pair), **options) for pair in zip(bounds, bounds[1:], strict=False)]
    for column, values in whole.genes.items():
        np.testing.assert_array_equal(np.concatenate([shard.genes[column] for shard in shards]), values)
    for layer, values in whole.layers.items():
        np.testing.assert_array_equal(np.vstack([shard.layers[layer] for shard in shards]), values)


def test_fits_are_bitwise_identical_on_any_number_of_threads(options):
    one, two = (with_threads(n_threads, methods.run, block(), **options) for n_threads in (1, 2))
    for name, values in (one.genes | one.layers).items():
        np.testing.assert_array_equal((two.genes | two.layers)[name], values)


def test_a_shard_without_genes_gives_an_empty_fit(method):
    contract.check(methods.run(select_genes(block(), 4, 4), method=method), 0, 60)


def test_a_fit_does_not_modify_its_input(method):
    fitted, original = block(), block()
    methods.run(fitted, method=method)
    for layer in ("spliced", "unspliced"):
        np.testing.assert_array_equal(getattr(fitted, layer).toarray(), getattr(original, layer).toarray())
    assert all(np.array_equal(a, b) for a, b in zip(fitted.neighborhood, original.neighborhood, strict=True))


def test_the_description_has_the_options_of_the_method_and_their_defaults(method):
    description = yaml.safe_load((DESCRIPTIONS / f"{method}.yaml").read_text())
    assert description["kind"] == "native"
    module = methods.load(method)
    parameters = {}
    for function in (module.fit, module.velocity_genes):
        parameters |= {name: value.default for name, value in inspect.signature(function).parameters.items()}
    parameters = {name: default for name, default in parameters.items() if default is not inspect.Parameter.empty}
    assert parameters == {name: option["default"] for name, option in description["properties"].items()}


def test_the_error_for_an_unknown_method_lists_the_methods():
    with pytest.raises(ValueError, match=f"no method 'magic' .there are: {', '.join(methods.names())}"):
        methods.load("magic")


@pytest.mark.parametrize(
    "function", [lambda **options: methods.run(None, **options), lambda **o: methods.select({}, **o)]
)
def test_a_misspelt_option_is_an_error_that_names_the_near_one(function):
    with pytest.raises(ValueError, match="'dynamical' has no option 'min_rr'; did you mean 'min_r2'"):
        function(method="dynamical", min_rr=0.5)


def test_the_error_for_too_few_velocity_genes_gives_the_reasons(method):
    fit = methods.run(select_genes(block(), 0, 3), method=method)
    with pytest.raises(
        InputError, match="0 genes can enter .* fitted 0 of 3 genes .2 no spliced counts; 1 no unspliced"
    ):
        methods.select(fit.genes, method=method)


def test_numbers_of_fitted_genes_and_reasons_are_logged(method, caplog):
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


def test_counts_that_follow_no_curve_fulfill_the_contract(method):
    counts = two_clusters()
    genes = contract.GeneBlock(
        counts.var_names.to_numpy(),
        *(sparse.csc_matrix(counts.layers[layer]) for layer in ("spliced", "unspliced")),
        as_neighborhood(averaging_weights(sparse.csr_matrix((40, 40)))),
    )
    contract.check(methods.run(genes, method=method), 12, 40)
