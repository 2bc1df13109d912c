"""The two solvers against the truth of the simulator, by kind of gene: velocities, times, rates and their errors.

    .venv/bin/python benchmarks/kinds.py

Six simulations with seeds that nothing was tuned on.  A gene's cells are those of the trunk and of the fates that
switch it.

rank        rank correlation of velocity with the truth, median over genes, of the fitted form
time        rank correlation of the gene's time with the cells', median over genes; and how many are reversed
ratio       median absolute error of gamma/beta, log2
covered     how often 95 % intervals of the converged solver hold the truth
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import truth
from scipy.stats import spearmanr
from veloshard import assemble, methods, preprocess, simulate, store

SEEDS = (1, 2)
SOLVERS = ("converged", "compatible")
Z_95 = 1.96


def genes_of(options):
    """A row a gene and solver: how near its fit is to the truth."""
    counts = assemble.simulated_counts(**options)
    velocity = counts.layers.pop("true_velocity")
    known = simulate.simulate(
        np.random.default_rng(options["seed"]), **{key: options[key] for key in options if key != "seed"}
    )
    counts.uns["ingest"] = {}
    prepared = preprocess.prepare(counts, dataset="known")
    with tempfile.TemporaryDirectory() as folder:
        store.save_prepared(Path(folder) / "prepared.h5ad", prepared)
        block, _ = store.load_block(Path(folder) / "prepared.h5ad")
    genes = counts.var_names.get_indexer(prepared.var_names)
    cells = counts.obs_names.get_indexer(prepared.obs_names)
    lineage, time = known.lineage[cells], known.time[cells]
    # known of genes that are switched on and off; the two fates have it in common
    off = np.where(np.isfinite(known.switch_off), known.switch_off, 0.0)
    time_on = np.max(off - np.where(off > 0, known.switch_on, 0.0), axis=0)
    logs = {
        "ratio": np.log(known.gamma * known.unspliced_capture / known.beta),
        "alpha": np.log(known.alpha),
        "beta": np.log(known.beta / known.unspliced_capture),
        "gamma": np.log(known.gamma),
        "t_": np.log(np.where(known.kind == "up_down", time_on, np.nan)),
    }
    rows = []
    for solver in SOLVERS:
        fit = methods.run(block, method="dynamical", solver=solver, velocity="fitted", fit_all_genes=True)
        columns = fit.genes
        found = {key: np.log(columns[f"fit_{key}"]) for key in ("alpha", "beta", "gamma", "t_")}
        found["ratio"] = found["gamma"] - found["beta"]
        for k in np.flatnonzero(columns["status"] == "ok"):
            gene = genes[k]
            both = known.fate[gene] == simulate.BOTH_FATES
            own = both | np.isin(lineage, (simulate.TRUNK, known.fate[gene]))
            row = {
                "solver": solver,
                "kind": known.kind[gene],
                "rank": spearmanr(fit.layers["velocity"][k], velocity[cells, gene]).statistic,
                "time": spearmanr(fit.layers["fit_t"][k][own], time[own]).statistic,
            }
            for key, values in found.items():
                row[key] = values[k] - logs[key][gene]
                if solver == "converged" and np.isfinite(row[key]):
                    row[f"{key} covered"] = abs(row[key]) < Z_95 * columns[f"fit_{key}_error"][k]
            rows.append(row)
    return rows


def summary(table):
    """The scores of genes (rows), as one row."""
    return pd.Series(
        {
            "genes": len(table),
            "rank": table["rank"].median(),
            "time": table["time"].median(),
            "reversed": (table["time"] < 0).mean(),
            "ratio": (table["ratio"] / np.log(2)).abs().median(),
        }
    )


def main():
    """Fit all sets with both solvers and print scores by kind, and how often intervals hold the truth."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    for options in truth.SIMULATIONS.values():
        for seed in SEEDS:
            rows += genes_of(options | {"seed": 1000 * seed + options["seed"]})
    table = pd.DataFrame(rows)
    by_kind = table.groupby(["kind", "solver"]).apply(summary, include_groups=False)
    of_all = pd.concat({"all": table.groupby("solver").apply(summary, include_groups=False)})
    print(pd.concat([by_kind, of_all]).round(3).to_string())
    covered = [column for column in table if column.endswith("covered")]
    print(table.loc[table["solver"] == "converged", covered].astype(float).mean().round(3).to_string())


if __name__ == "__main__":
    main()
