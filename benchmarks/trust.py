"""Compute the verdict for data with and without a trajectory.

    .venv/bin/python benchmarks/trust.py

Data with a trajectory are those of our simulator, and real and simulated public data if `../shared` exists. Data
without a trajectory are unrelated clusters in steady states, in several forms, and the public data after shuffling the
counts of each gene among the cells of a cluster, spliced and unspliced together. The latter keep real counts and
clusters, but have no dynamics.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]

from support.counts import unrelated_clusters
from veloshard.evaluation.negative_controls import draw_subsample, permutation_groups
from veloshard.evaluation.refits import run_negative_controls
from veloshard.evaluation.verdict import compute_check_values, compute_verdict
from veloshard.io.readers.common import LAYERS
from veloshard.kinetics import methods
from veloshard.labels import as_labels
from veloshard.preprocessing.prepare import prepare_data
from veloshard.preprocessing.quality import summarize_quality
from veloshard.simulation import simulate_counts

SHARED = ROOT / "../shared/data"
WITH_TRAJECTORY = {
    "simulator": {"seed": 201, "n_cells": 1000, "n_genes": 200, "depth": 1500, "noise": 0.4},
    "simulator, 3000 shallow cells": {"seed": 202, "n_cells": 3000, "n_genes": 400, "depth": 800, "noise": 0.5},
    "simulator, 400 cells": {"seed": 203, "n_cells": 400, "n_genes": 150, "depth": 3000, "noise": 0.2},
    "simulator, very noisy": {
        "seed": 204, "n_cells": 1500, "n_genes": 300, "depth": 500, "noise": 0.8, "unspliced_capture": 0.3,
    },
}  # fmt: skip
WITHOUT_TRAJECTORY = {
    "3 clusters": {"seed": 101, "n_clusters": 3},
    "8 deep clusters": {"seed": 102, "n_cells": 2000, "n_genes": 300, "n_clusters": 8, "depth": 10_000, "noise": 0.2},
    "20 clusters": {"seed": 103, "n_cells": 3000, "n_genes": 300, "n_clusters": 20, "noise": 0.3, "rate_spread": 0.3},
    "shallow clusters": {"seed": 104, "n_cells": 2000, "n_genes": 300, "depth": 500, "noise": 0.3},
    "clusters of uneven cells": {"seed": 105, "n_cells": 2000, "n_genes": 300, "depth_spread": 0.8, "noise": 0.3},
    "clusters of equal rates": {"seed": 106, "n_cells": 2000, "n_genes": 300, "rate_spread": 0.0, "noise": 0.3},
    "noisy clusters": {"seed": 107, "n_cells": 2000, "n_genes": 300, "noise": 1.0},
    "a single cluster": {"seed": 108, "n_clusters": 1, "n_genes": 300},
}
PUBLIC = {
    "pancreas": ("pancreas.h5ad", "clusters"),
    "dentate gyrus, 200 cells": ("dentategyrus_200.h5ad", "clusters"),
    "Gorin 2022": ("simulated/gfcp_abcde_2000x100.h5ad", "celltype"),
    "dyngen bifurcating": ("simulated/dyngen_bifurcating_1000x250.h5ad", ""),
    "dyngen linear": ("simulated/dyngen_linear_4000x120.h5ad", ""),
    "UniTVelo's dyngen": ("simulated/unitvelo_dyngen_2000x264.h5ad", ""),
    "SERGIO DS6": ("simulated/sergio_DS6_rep00.h5ad", ""),
}
# what ingesting a file records
INGESTED = {"format": "none", "counts": "integer", "duplicate_cells": 0, "warnings": []}


def load_public_counts(name, clusters, *, shuffled=False):
    """Return the counts of a public file, optionally with the cells of each cluster shuffled for each gene."""
    counts = anndata.read_h5ad(SHARED / name)
    for layer in LAYERS:
        counts.layers[layer] = sparse.csr_matrix(counts.layers[layer], dtype=np.float32)
    if shuffled:
        rng, codes = np.random.default_rng(0), as_labels(counts.obs[clusters]).cat.codes.to_numpy()
        # a random order of the cells of each cluster, which differs between genes
        order = np.argsort(codes + rng.random((counts.n_vars, counts.n_obs)), axis=1).T
        rows = np.argsort(codes, kind="stable")
        for layer in LAYERS:
            values = np.empty(counts.shape, dtype=np.float32)
            values[rows] = np.take_along_axis(counts.layers[layer].toarray(), order, axis=0)
            counts.layers[layer] = sparse.csr_matrix(values)
    return counts


def two_chemistries(*, seed, spread=0.3):
    """Return unrelated clusters in two samples. In one sample, the spliced counts of each gene change by a factor."""
    counts, rng = unrelated_clusters(900, n_clusters=3, seed=seed), np.random.default_rng(seed)
    second = rng.random(counts.n_obs) < 0.5
    factor = np.where(second[:, None], rng.lognormal(0, spread, counts.n_vars), 1.0)
    counts.layers["spliced"] = sparse.csr_matrix(rng.poisson(counts.layers["spliced"].toarray() * factor))
    counts.obs["sample"] = np.where(second, "one", "two")
    return counts


def gradient(*, seed, n_cells=1500, n_genes=300, depth=2000):
    """Return cells along a gradient without dynamics: all genes are in a steady state that depends on the position."""
    rng = np.random.default_rng(seed)
    position = rng.random((n_cells, 1))
    alpha = rng.lognormal(0, 1, n_genes) / (1 + np.exp(-rng.normal(0, 8, n_genes) * (position - rng.random(n_genes))))
    beta, gamma = rng.lognormal(-0.5, 0.4, n_genes), rng.lognormal(-1.2, 0.4, n_genes)
    layers = {"spliced": alpha / gamma, "unspliced": 0.6 * alpha / beta}
    size = depth * rng.lognormal(0, 0.3, (n_cells, 1)) / sum(layers.values()).sum(axis=1).mean()
    return anndata.AnnData(
        obs=pd.DataFrame(
            {"clusters": (5 * position[:, 0]).astype(int).astype(str)}, index=[f"c{i}" for i in range(n_cells)]
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
        layers={name: sparse.csr_matrix(rng.poisson(size * mean)) for name, mean in layers.items()},
    )


def datasets():
    """Return the available datasets by name: whether there is a trajectory, a function that loads counts, clusters."""
    available = {}
    for name, options in WITH_TRAJECTORY.items():
        available[name] = (True, lambda options=options: simulate_counts(**options), "clusters")
    for name, options in WITHOUT_TRAJECTORY.items():
        available[name] = (False, lambda options=options: unrelated_clusters(**options), "clusters")
    for seed in (1, 2, 3):
        available[f"two chemistries, {seed}"] = (False, lambda seed=seed: two_chemistries(seed=seed), "clusters")
        available[f"gradient at rest, {seed}"] = (False, lambda seed=seed: gradient(seed=seed), "clusters")
    if not SHARED.exists():
        print(f"no {SHARED}: simulated data only")
        return available
    for name, (file, clusters) in PUBLIC.items():
        for shuffled in (False, True) if clusters else (False,):
            load = partial(load_public_counts, file, clusters, shuffled=shuffled)
            available[f"{name}, shuffled" if shuffled else name] = (not shuffled, load, clusters)
    return available


def evaluate(counts, clusters, method):
    """Return the scores of a method on negative controls, and its verdict."""
    counts.uns["ingest"] = {**INGESTED, "n_cells": counts.n_obs}
    prepared = prepare_data(counts, dataset="trust")
    subsample = draw_subsample(prepared, max_cells=5000, random_state=0)
    scores = run_negative_controls(
        counts[subsample.obs_names],
        subsample,
        groups=permutation_groups(subsample, clusters),
        method=method,
        references=methods.names(),
        sqrt_transform=method == "stochastic",
    )
    return scores, compute_verdict(compute_check_values(summarize_quality(prepared), scores))


def main():
    """Print one row per dataset and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="datasets whose names contain this", default="")
    parser.add_argument("--methods", nargs="+", default=["dynamical", "steady_state", "stochastic"])
    options = parser.parse_args()
    rows = []
    for name, (has_trajectory, load, clusters) in datasets().items():
        for method in options.methods if options.only in name else ():
            scores, verdict = evaluate(load(), clusters, method)
            observed, permuted = scores["observed"], scores["permuted"]
            rows.append(
                {
                    "dataset": name,
                    "trajectory": has_trajectory,
                    "method": method,
                    "coherence": observed["split_half_coherence"],
                    "within samples": scores["samples"]["split_half_coherence"],
                    "confidence": observed["confidence"],
                    "likelihood": observed["likelihood"],
                    "permuted": permuted["likelihood"],
                    "variation": permuted["variation"],
                    "half": scores["thinned"].get("cosine"),
                    "methods": min(filter(None, scores["methods"].values()), default=None),
                    "verdict": verdict["verdict"],
                }
            )
            print(*rows[-1].values(), sep="\t", flush=True)
    table = pd.DataFrame(rows).sort_values(["trajectory", "method"], ascending=False, kind="stable")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
