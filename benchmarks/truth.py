"""Compare velocities of all methods with the truth, by the same scores.

    make .envs/scvelo/installed.lock && .venv/bin/python benchmarks/truth.py

The data are those of our simulator, with seeds and settings that were not used for tuning, and three public simulations
if `../shared` exists. True velocities are those stored with the data, or else beta u - gamma s of the moments with the
true rates. Every gene with counts is fitted and scored:

cosine      median over cells of the cosine between velocity and truth
rank        median over genes of the rank correlation with the truth, which does not depend on the scale of a gene
sign        agreement of the signs, where the true velocity is above 5 % of the gene's maximum
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

from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.io.readers.common import LAYERS
from veloshard.kinetics import methods
from veloshard.preprocessing.moments import first_moments
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts

SHARED = ROOT / "../shared/data/simulated"
SCVELO = ROOT / ".envs/scvelo/bin/python"
# bounds that keep all genes
ALL_GENES = {"min_r2": -np.inf, "min_ratio": -np.inf}
METHODS = {
    "steady state": {"method": "steady_state", **ALL_GENES},
    "stochastic": {"method": "stochastic", **ALL_GENES},
    **{
        f"{solver}, {form}": {"method": "dynamical", "solver": solver, "velocity": form, "fit_all_genes": True}
        for solver in ("mixture", "scvelo")
        for form in ("shrunken", "fitted", "residual")
    },
}
SIMULATIONS = {
    "simulator, 2000 cells": {"seed": 11, "n_cells": 2000, "n_genes": 300, "depth": 2000, "noise": 0.3},
    "simulator, noisy": {"seed": 12, "n_cells": 1500, "n_genes": 300, "depth": 1000, "noise": 0.6},
    "simulator, deep": {"seed": 13, "n_cells": 800, "n_genes": 300, "depth": 6000, "noise": 0.0},
}


class Dataset(NamedTuple):
    """Counts with a known truth.

    Attributes
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts.
    velocity : ndarray, shape (n_cells, n_genes), or None
        True velocities; None if they follow from the rates.
    rates : tuple of ndarray, shape (n_genes,), or None
        True beta and gamma.
    """

    counts: anndata.AnnData
    velocity: np.ndarray | None
    rates: tuple | None


def simulate_dataset(**options):
    """Return a `Dataset` of our simulator."""
    counts = simulate_counts(**options)
    return Dataset(counts, counts.layers.pop("true_velocity"), None)


def load_public_dataset(name, *, velocity=None, rates=None):
    """Return the `Dataset` of a file, with true velocities in a layer, or true beta and gamma in two columns."""
    counts = anndata.read_h5ad(SHARED / name)
    truth = counts.layers.pop(velocity) if velocity else None
    truth = truth.toarray() if sparse.issparse(truth) else truth
    for layer in LAYERS:
        counts.layers[layer] = sparse.csr_matrix(counts.layers[layer], dtype=np.float32)
    return Dataset(counts, truth, rates and tuple(counts.var[rate].to_numpy(float) for rate in rates))


def datasets():
    """Return functions that load the available datasets, by name."""
    loaders = {name: lambda options=options: simulate_dataset(**options) for name, options in SIMULATIONS.items()}
    if SHARED.exists():
        loaders |= {
            "SERGIO DS6": lambda: load_public_dataset("sergio_DS6_rep00.h5ad", velocity="true_velocity"),
            "Gorin 2022": lambda: load_public_dataset("gfcp_abcde_2000x100.h5ad", rates=("beta", "gamma")),
            "dyngen linear": lambda: load_public_dataset(
                "dyngen_linear_4000x120.h5ad", rates=("splicing_rate", "mrna_decay_rate")
            ),
        }
    else:
        print(f"no {SHARED}: only data of our simulator")
    return loaders


def load_moments(path):
    """Return the moments of `prepared.h5ad`, spliced and unspliced, (n_cells, n_genes) each."""
    block, _ = load_gene_block(path)
    return tuple(first_moments(layer, block.neighborhood).T for layer in (block.spliced, block.unspliced))


def true_velocities(dataset, prepared, spliced, unspliced):
    """Return the true velocities of prepared cells and genes.

    Parameters
    ----------
    dataset : Dataset
        Counts with a known truth.
    prepared : AnnData, shape (n_prepared_cells, n_prepared_genes)
        Prepared data.
    spliced, unspliced : ndarray, shape (n_prepared_cells, n_prepared_genes)
        Moments, from `load_moments`.

    Returns
    -------
    cells, genes : ndarray of int
        Indices of the prepared cells and genes in the dataset.
    velocity : ndarray, shape (n_prepared_cells, n_prepared_genes)
        True velocities.
    """
    genes = dataset.counts.var_names.get_indexer(prepared.var_names)
    cells = dataset.counts.obs_names.get_indexer(prepared.obs_names)
    if dataset.velocity is not None:
        return cells, genes, np.asarray(dataset.velocity)[np.ix_(cells, genes)]
    beta, gamma = (rate[genes] for rate in dataset.rates)
    return cells, genes, beta * unspliced - gamma * spliced


def compute_velocities(dataset, folder):
    """Return the true velocities, (n_genes, n_cells), and those of every method, by name."""
    dataset.counts.uns["ingest"] = {}
    prepared = prepare_data(dataset.counts, dataset="truth")
    path = folder / "prepared.h5ad"
    save_prepared(path, prepared)
    block, _ = load_gene_block(path)
    spliced, unspliced = load_moments(path)
    _, _, truth = true_velocities(dataset, prepared, spliced, unspliced)
    velocities = {name: methods.run(block, **options).layers["velocity"] for name, options in METHODS.items()}
    if SCVELO.exists():
        prepared.layers["Ms"], prepared.layers["Mu"] = spliced, unspliced
        prepared.write_h5ad(path)
        script = ROOT / "benchmarks/workers/scvelo_velocities.py"
        subprocess.run([SCVELO, "-I", script, path, folder / "scvelo.h5"], check=True)
        with h5py.File(folder / "scvelo.h5") as file:
            velocities |= {name: file[name][()].T for name in file if name != "fit_t"}
    return truth.T, velocities


def score(velocity, truth):
    """Return the three scores of velocities (n_genes, n_cells)."""
    is_changing = np.abs(truth) > 0.05 * np.abs(truth).max(axis=1, keepdims=True)
    cosines = row_cosines(velocity.T, truth.T)
    ranks = [rankdata(values, axis=1) for values in (velocity, truth)]
    centered = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    return {
        "cosine": np.nanmedian(cosines),
        "rank": np.nanmedian(row_cosines(*centered)),
        "sign": np.mean((np.sign(velocity) == np.sign(truth))[is_changing]),
    }


def row_cosines(first, second):
    """Return the cosines between the rows of two matrices; NaN where one is 0."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide(np.sum(first * second, axis=1), norms, out=np.full(len(first), np.nan), where=norms > 0)


def main():
    """Score all methods on all datasets, and print one table per score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="datasets whose names contain this", default="")
    options = parser.parse_args()
    if not SCVELO.exists():
        print("scVelo is not installed and left out: make .envs/scvelo/installed.lock")
    rows = []
    for name, load in datasets().items():
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            truth, velocities = compute_velocities(load(), Path(folder))
        # genes that every method has fitted
        is_fitted = np.all([np.isfinite(velocity).all(axis=1) for velocity in velocities.values()], axis=0)
        for method, velocity in velocities.items():
            scores = score(velocity[is_fitted].astype(float), truth[is_fitted].astype(float))
            rows.append({"dataset": f"{name} ({is_fitted.sum()} genes)", "method": method, **scores})
    table = pd.DataFrame(rows).pivot_table(index="method", columns="dataset", sort=False)
    for measure in ("cosine", "rank", "sign"):
        print(f"\n{measure}\n\n{table[measure].round(3).to_string()}")


if __name__ == "__main__":
    main()
