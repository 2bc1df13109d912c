"""What the methods find on simulated cells whose times and velocities are known."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import spearmanr
from veloshard import assemble, graph, methods, preprocess, selection, store, time

# lineages of the simulator with the trunk that leads to them
LINEAGES = {"Fate A": ("Trunk", "Fate A"), "Fate B": ("Trunk", "Fate B")}


class Found(NamedTuple):
    """Spearman of latent time with true time by lineage; median cosine to the true velocity by method."""

    time: dict
    cosine: dict


def run(folder, *, seed, **options):
    """The steps of the workflow on one simulated dataset, without Snakemake."""
    counts = assemble.simulated_counts(seed=seed, **options)
    counts.uns["ingest"] = {}
    truth = counts.layers.pop("true_velocity")
    prepared = preprocess.prepare(counts, dataset="demo")
    truth = truth[:, counts.var_names.get_indexer(prepared.var_names)]
    store.save_prepared(folder / "prepared.h5ad", prepared)
    block, _ = store.load_block(folder / "prepared.h5ad")
    fits = {name: methods.run(block, method=name) for name in ("steady_state", "stochastic", "dynamical")}
    dynamical = fits["dynamical"]
    chosen = methods.select(dynamical.genes, method="dynamical")

    velocities = {name: np.ascontiguousarray(fit.layers["velocity"][chosen].T) for name, fit in fits.items()}
    walk = graph.velocity_graph(
        store.load_moments(folder / "prepared.h5ad", chosen), velocities["dynamical"], prepared.obsp["distances"]
    )
    orders = time.order_cells(
        walk,
        prepared.obsp["distances"],
        prepared.obsp["connectivities"],
        in_root_cluster=selection.in_cluster(prepared.obs, "clusters", "Progenitor"),
        fit_t=dynamical.layers["fit_t"],
        likelihood=dynamical.genes["fit_likelihood"],
    )
    cells = {name: prepared.obs["lineage"].isin(parts).to_numpy() for name, parts in LINEAGES.items()}
    true_time = prepared.obs["true_time"].to_numpy()
    return Found(
        {name: spearmanr(orders["latent_time"][own], true_time[own]).statistic for name, own in cells.items()},
        {name: np.nanmedian(cosines(found, truth[:, chosen])) for name, found in velocities.items()},
    )


def cosines(found, truth):
    """Cosine between the rows of two matrices.  Size factors, one a cell, drop out."""
    return np.sum(found * truth, axis=1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(truth, axis=1))


# one combination of each seed and noise level at once, all nine in the long run
QUICK = {(0, 0.0, 2000), (1, 0.3, 2000), (2, 0.3, 1000)}
CASES = [(seed, noise, depth) for noise, depth in ((0.0, 2000), (0.3, 2000), (0.3, 1000)) for seed in range(3)]


@pytest.mark.parametrize(
    ("seed", "noise", "depth"),
    [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_order_and_direction_are_those_of_the_truth(tmp_path, seed, noise, depth):
    found = run(tmp_path, seed=seed, noise=noise, depth=depth, n_cells=1500, n_genes=300)
    print(found)
    assert min(found.time.values()) >= 0.8
    assert found.cosine["dynamical"] > found.cosine["steady_state"]
