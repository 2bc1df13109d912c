"""The verdict on data with and without a trajectory.

    .venv/bin/python benchmarks/trust.py

With one: the simulator's, and real and simulated public data where `../shared` is at hand.  Without: clusters at steady
states that have nothing to do with each other, in many forms; and the public data with every gene's counts shuffled
among the cells of a cluster, spliced and unspliced together, which leaves real counts and clusters and nothing that
moves.
"""

import argparse
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]

from counted import unrelated_clusters  # noqa: E402
from veloshard import assemble, controls, preprocess, quality, trust  # noqa: E402
from veloshard.readers.common import LAYERS  # noqa: E402
from veloshard.selection import as_labels  # noqa: E402

SHARED = ROOT / "../shared/data"
MOVING = {
    "simulator": {"seed": 201, "n_cells": 1000, "n_genes": 200, "depth": 1500, "noise": 0.4},
    "simulator, 3000 shallow cells": {"seed": 202, "n_cells": 3000, "n_genes": 400, "depth": 800, "noise": 0.5},
    "simulator, 400 cells": {"seed": 203, "n_cells": 400, "n_genes": 150, "depth": 3000, "noise": 0.2},
    "simulator, very noisy": {
        "seed": 204, "n_cells": 1500, "n_genes": 300, "depth": 500, "noise": 0.8, "unspliced_capture": 0.3,
    },
}  # fmt: skip
STILL = {
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
# what reading a file would have said of it
INGESTED = {"format": "none", "counts": "integer", "duplicate_cells": 0, "warnings": []}


def public(name, clusters, *, shuffled=False):
    """Counts of a public file; with every gene shuffled within clusters, if so asked."""
    counts = anndata.read_h5ad(SHARED / name)
    for layer in LAYERS:
        counts.layers[layer] = sparse.csr_matrix(counts.layers[layer], dtype=np.float32)
    if shuffled:
        rng, codes = np.random.default_rng(0), as_labels(counts.obs[clusters]).cat.codes.to_numpy()
        # rows that stay in their cluster, another order for each gene
        order = np.argsort(codes + rng.random((counts.n_vars, counts.n_obs)), axis=1).T
        place = np.argsort(codes, kind="stable")
        for layer in LAYERS:
            moved = np.empty(counts.shape, dtype=np.float32)
            moved[place] = np.take_along_axis(counts.layers[layer].toarray(), order, axis=0)
            counts.layers[layer] = sparse.csr_matrix(moved)
    return counts


def two_chemistries(*, seed, spread=0.3):
    """Unrelated clusters in two samples, in one of which each gene's spliced counts are seen by another factor."""
    counts, rng = unrelated_clusters(900, n_clusters=3, seed=seed), np.random.default_rng(seed)
    second = rng.random(counts.n_obs) < 0.5
    factor = np.where(second[:, None], rng.lognormal(0, spread, counts.n_vars), 1.0)
    counts.layers["spliced"] = sparse.csr_matrix(rng.poisson(counts.layers["spliced"].toarray() * factor))
    counts.obs["sample"] = np.where(second, "one", "two")
    return counts


def gradient(*, seed, n_cells=1500, n_genes=300, depth=2000):
    """Cells at rest along a course: every gene at the steady state of a rate that follows from the place."""
    rng = np.random.default_rng(seed)
    place = rng.random((n_cells, 1))
    alpha = rng.lognormal(0, 1, n_genes) / (1 + np.exp(-rng.normal(0, 8, n_genes) * (place - rng.random(n_genes))))
    beta, gamma = rng.lognormal(-0.5, 0.4, n_genes), rng.lognormal(-1.2, 0.4, n_genes)
    layers = {"spliced": alpha / gamma, "unspliced": 0.6 * alpha / beta}
    size = depth * rng.lognormal(0, 0.3, (n_cells, 1)) / sum(layers.values()).sum(axis=1).mean()
    return anndata.AnnData(
        obs=pd.DataFrame(
            {"clusters": (5 * place[:, 0]).astype(int).astype(str)}, index=[f"c{i}" for i in range(n_cells)]
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
        layers={name: sparse.csr_matrix(rng.poisson(size * mean)) for name, mean in layers.items()},
    )


def datasets():
    """Names of the datasets at hand: whether something moves, a function that loads the counts, and their clusters."""
    found = {}
    for name, options in MOVING.items():
        found[name] = (True, lambda options=options: assemble.simulated_counts(**options), "clusters")
    for name, options in STILL.items():
        found[name] = (False, lambda options=options: unrelated_clusters(**options), "clusters")
    for seed in (1, 2, 3):
        found[f"two chemistries, {seed}"] = (False, lambda seed=seed: two_chemistries(seed=seed), "clusters")
        found[f"gradient at rest, {seed}"] = (False, lambda seed=seed: gradient(seed=seed), "clusters")
    if not SHARED.exists():
        print(f"no {SHARED}: simulated data only")
        return found
    for name, (file, clusters) in PUBLIC.items():
        found[name] = (True, lambda file=file, clusters=clusters: public(file, clusters), clusters)
        if clusters:
            load = lambda file=file, clusters=clusters: public(file, clusters, shuffled=True)  # noqa: E731
            found[f"{name}, shuffled"] = (False, load, clusters)
    return found


def judged(counts, clusters, method):
    """Controls of a method on some counts, and its verdict."""
    counts.uns["ingest"] = {**INGESTED, "n_cells": counts.n_obs}
    prepared = preprocess.prepare(counts, dataset="trust")
    sample = controls.take_sample(prepared, max_cells=5000, random_state=0)
    found = controls.run_controls(
        counts[sample.obs_names],
        sample,
        groups=controls.groups_of(sample, clusters),
        method={"method": method},
        sqrt_transform=method == "stochastic",
    )
    return found, trust.judge(trust.measured(quality.quality_control(prepared), found))


def main():
    """Print a row for each dataset and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="datasets whose names contain this", default="")
    parser.add_argument("--methods", nargs="+", default=["dynamical", "steady_state", "stochastic"])
    options = parser.parse_args()
    rows = []
    for name, (moves, load, clusters) in datasets().items():
        for method in options.methods if options.only in name else ():
            found, verdict = judged(load(), clusters, method)
            observed, permuted = found["observed"], found["permuted"]
            rows.append(
                {
                    "dataset": name,
                    "moves": moves,
                    "method": method,
                    "coherence": observed["coherence"],
                    "within samples": found["samples"]["coherence"],
                    "confidence": observed["confidence"],
                    "likelihood": observed["likelihood"],
                    "permuted": permuted["likelihood"],
                    "variation": permuted["variation"],
                    "half": found["thinned"].get("cosine"),
                    "methods": min(filter(None, found["methods"].values()), default=None),
                    "verdict": verdict["verdict"],
                }
            )
            print(*rows[-1].values(), sep="\t", flush=True)
    table = pd.DataFrame(rows).sort_values(["moves", "method"], ascending=False, kind="stable")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
