"""Latent times and velocities of simulated cells agree with the truth."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import spearmanr
from veloshard.analysis.pseudotime import compute_pseudotimes
from veloshard.graph.velocity_graph import compute_velocity_graph
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics import methods
from veloshard.labels import in_cluster
from veloshard.preprocessing.moments import load_moments
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts

# fates of the simulation, each with the trunk that leads to it
LINEAGES = {"Fate A": ("Trunk", "Fate A"), "Fate B": ("Trunk", "Fate B")}


class Agreement(NamedTuple):
    """Spearman correlation of latent time with true time per lineage, and median cosine to true velocity per method."""

    time: dict
    cosine: dict


def run(folder, *, seed, **options):
    """Run the steps of the workflow on a simulated dataset, without Snakemake."""
    counts = simulate_counts(seed=seed, **options)
    counts.uns["ingest"] = {}
    truth = counts.layers.pop("true_velocity")
    prepared = prepare_data(counts, dataset="demo")
    truth = truth[:, counts.var_names.get_indexer(prepared.var_names)]
    save_prepared(folder / "prepared.h5ad", prepared)
    block, _ = load_gene_block(folder / "prepared.h5ad")
    fits = {name: methods.run(block, method=name) for name in ("steady_state", "stochastic", "dynamical")}
    dynamical = fits["dynamical"]
    velocity_genes = methods.select(dynamical.genes, method="dynamical")

    velocities = {name: np.ascontiguousarray(fit.layers["velocity"][velocity_genes].T) for name, fit in fits.items()}
    graph = compute_velocity_graph(
        load_moments(folder / "prepared.h5ad", velocity_genes), velocities["dynamical"], prepared.obsp["distances"]
    )
    pseudotimes = compute_pseudotimes(
        graph,
        prepared.obsp["distances"],
        prepared.obsp["connectivities"],
        in_root_cluster=in_cluster(prepared.obs, "clusters", "Progenitor"),
        fit_t=dynamical.layers["fit_t"],
        likelihood=dynamical.genes["fit_likelihood"],
    )
    cells = {name: prepared.obs["lineage"].isin(parts).to_numpy() for name, parts in LINEAGES.items()}
    true_time = prepared.obs["true_time"].to_numpy()
    return Agreement(
        {name: spearmanr(pseudotimes["latent_time"][own], true_time[own]).statistic for name, own in cells.items()},
        {name: np.nanmedian(cosines(velocity, truth[:, velocity_genes])) for name, velocity in velocities.items()},
    )


def cosines(velocity, truth):
    """Return the cosines between the rows of two matrices, which do not depend on the cells' size factors."""
    return np.sum(velocity * truth, axis=1) / (np.linalg.norm(velocity, axis=1) * np.linalg.norm(truth, axis=1))


# three of the nine combinations run by default, with each seed once; all run with the slow tests
QUICK = {(0, 0.0, 2000), (1, 0.3, 2000), (2, 0.3, 1000)}
CASES = [(seed, noise, depth) for noise, depth in ((0.0, 2000), (0.3, 2000), (0.3, 1000)) for seed in range(3)]


@pytest.mark.parametrize(
    ("seed", "noise", "depth"),
    [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_latent_time_and_velocity_agree_with_the_truth(tmp_path, seed, noise, depth):
    agreement = run(tmp_path, seed=seed, noise=noise, depth=depth, n_cells=1500, n_genes=300)
    assert min(agreement.time.values()) >= 0.8
    assert agreement.cosine["dynamical"] > agreement.cosine["steady_state"]
