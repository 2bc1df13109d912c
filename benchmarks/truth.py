"""Velocity against the truth, every method by the same score.

    make .envs/scvelo/installed.lock && .venv/bin/python benchmarks/truth.py

Data: the simulator's, with seeds and settings that nothing was tuned on, and three public simulations where
`../shared` is at hand.  True velocities are those stored with the data, else beta u - gamma s of the smoothed
counts with the true rates.  Every gene with counts is fitted and scored:

cosine      median over cells of the cosine between velocity and truth
rank        median over genes of the rank correlation with the truth: free of each gene's scale
sign        agreement of sign, where the true velocity is above 5 % of the gene's largest
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow/scripts"))

from veloshard import assemble, methods, preprocess, store  # noqa: E402
from veloshard.moments import first_moments  # noqa: E402

SHARED = ROOT / "../shared/data/simulated"
SCVELO = ROOT / ".envs/scvelo/bin/python"
# no gene is left out
ALL_GENES = {"min_r2": -np.inf, "min_ratio": -np.inf}
METHODS = {
    "steady state": {"method": "steady_state", **ALL_GENES},
    "stochastic": {"method": "stochastic", **ALL_GENES},
    **{
        f"{solver}, {form}": {"method": "dynamical", "solver": solver, "velocity": form, "fit_all_genes": True}
        for solver in ("converged", "compatible")
        for form in ("supported", "fitted", "residual")
    },
}
SIMULATIONS = {
    "simulator, 2000 cells": {"seed": 11, "n_cells": 2000, "n_genes": 300, "depth": 2000, "noise": 0.3},
    "simulator, noisy": {"seed": 12, "n_cells": 1500, "n_genes": 300, "depth": 1000, "noise": 0.6},
    "simulator, deep": {"seed": 13, "n_cells": 800, "n_genes": 300, "depth": 6000, "noise": 0.0},
}


class Known(NamedTuple):
    """Counts of which the truth is known.

    counts : AnnData.   velocity : (n_cells, n_genes), or None where it follows from `rates`, beta and gamma (n_genes,).
    """

    counts: anndata.AnnData
    velocity: np.ndarray | None
    rates: tuple | None


def simulated(**options):
    """`Known` of the simulator."""
    counts = assemble.simulated_counts(**options)
    return Known(counts, counts.layers.pop("true_velocity"), None)


def public(name, *, velocity=None, rates=None):
    """`Known` of a file: true velocity in a layer, or true beta and gamma in two columns."""
    counts = anndata.read_h5ad(SHARED / name)
    truth = counts.layers.pop(velocity) if velocity else None
    truth = truth.toarray() if sparse.issparse(truth) else truth
    for layer in preprocess.LAYERS:
        counts.layers[layer] = sparse.csr_matrix(counts.layers[layer], dtype=np.float32)
    return Known(counts, truth, rates and tuple(counts.var[rate].to_numpy(float) for rate in rates))


def datasets():
    """Names of the datasets at hand, with functions that load them."""
    found = {name: lambda options=options: simulated(**options) for name, options in SIMULATIONS.items()}
    if SHARED.exists():
        found |= {
            "SERGIO DS6": lambda: public("sergio_DS6_rep00.h5ad", velocity="true_velocity"),
            "Gorin 2022": lambda: public("gfcp_abcde_2000x100.h5ad", rates=("beta", "gamma")),
            "dyngen linear": lambda: public("dyngen_linear_4000x120.h5ad", rates=("splicing_rate", "mrna_decay_rate")),
        }
    else:
        print(f"no {SHARED}: the simulator's data only")
    return found


def moments(path):
    """First moments of `prepared.h5ad`, spliced and unspliced, (n_cells, n_genes)."""
    block, _ = store.load_block(path)
    return tuple(first_moments(layer, block.around).T for layer in (block.spliced, block.unspliced))


def true_velocities(known, prepared, spliced, unspliced):
    """Positions of the prepared cells and genes among all, and their true velocities (n_cells, n_genes).

    spliced, unspliced : of `moments`.
    """
    genes = known.counts.var_names.get_indexer(prepared.var_names)
    cells = known.counts.obs_names.get_indexer(prepared.obs_names)
    if known.velocity is not None:
        return cells, genes, np.asarray(known.velocity)[np.ix_(cells, genes)]
    beta, gamma = (rate[genes] for rate in known.rates)
    return cells, genes, beta * unspliced - gamma * spliced


def velocities(known, folder):
    """True velocities (n_genes, n_cells), those of every method by name, and the prepared data."""
    known.counts.uns["ingest"] = {}
    prepared = preprocess.prepare(known.counts, dataset="known")
    path = folder / "prepared.h5ad"
    store.save_prepared(path, prepared)
    block, _ = store.load_block(path)
    spliced, unspliced = moments(path)
    _, _, truth = true_velocities(known, prepared, spliced, unspliced)
    found = {name: methods.run(block, **options).layers["velocity"] for name, options in METHODS.items()}
    if SCVELO.exists():
        prepared.layers["Ms"], prepared.layers["Mu"] = spliced, unspliced
        prepared.write_h5ad(path)
        script = ROOT / "benchmarks/workers/scvelo_velocities.py"
        subprocess.run([SCVELO, "-I", script, path, folder / "scvelo.h5"], check=True)
        with h5py.File(folder / "scvelo.h5") as file:
            found |= {name: file[name][()].T for name in file if name != "fit_t"}
    return truth.T, found


def score(velocity, truth):
    """The three scores of velocities (n_genes, n_cells) against the truth."""
    moving = np.abs(truth) > 0.05 * np.abs(truth).max(axis=1, keepdims=True)
    cosines = correlations(velocity.T, truth.T)
    ranks = [rankdata(values, axis=1) for values in (velocity, truth)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    return {
        "cosine": np.nanmedian(cosines),
        "rank": np.nanmedian(correlations(*centred)),
        "sign": np.mean((np.sign(velocity) == np.sign(truth))[moving]),
    }


def correlations(found, truth):
    """Cosine between the rows of two matrices; NaN where one is 0."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(truth, axis=1)
    return np.divide(np.sum(found * truth, axis=1), norms, out=np.full(len(found), np.nan), where=norms > 0)


def main():
    """Score all methods on all datasets and print a table of each score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="datasets whose names contain this", default="")
    options = parser.parse_args()
    if not SCVELO.exists():
        print("without scVelo, which `make .envs/scvelo/installed.lock` installs")
    rows = []
    for name, load in datasets().items():
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            truth, found = velocities(load(), Path(folder))
        # genes that every method has fitted
        fitted = np.all([np.isfinite(velocity).all(axis=1) for velocity in found.values()], axis=0)
        for method, velocity in found.items():
            scores = score(velocity[fitted].astype(float), truth[fitted].astype(float))
            rows.append({"dataset": f"{name} ({fitted.sum()} genes)", "method": method, **scores})
    table = pd.DataFrame(rows).pivot_table(index="method", columns="dataset", sort=False)
    for measure in ("cosine", "rank", "sign"):
        print(f"\n{measure}\n\n{table[measure].round(3).to_string()}")


if __name__ == "__main__":
    main()
