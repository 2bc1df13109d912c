"""Compare velocities, gene times and rates of both solvers with the truth of simulations, by kind of gene.

    .venv/bin/python benchmarks/kinds.py

There are six simulations, with seeds that were not used for tuning. Times are compared in the cells of the trunk and of
the fates in which a gene is switched.

rank        rank correlation of the fitted velocity with the truth, median over genes
time        rank correlation of the gene time with the true time, median over genes
reversed    fraction of genes in which that correlation is negative
ratio       median absolute error of gamma/beta, log2
covered     fraction of 95 % intervals of the solver `mixture` that include the truth
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from truth import SIMULATIONS
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics import methods
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import BOTH_FATES, TRUNK, simulate, simulate_counts

SEEDS = (1, 2)
SOLVERS = ("mixture", "scvelo")
Z_95 = 1.96


def score_genes(options):
    """Return the scores of a simulation, with one dict per solver and gene."""
    counts = simulate_counts(**options)
    velocity = counts.layers.pop("true_velocity")
    truth = simulate(np.random.default_rng(options["seed"]), **{key: options[key] for key in options if key != "seed"})
    counts.uns["ingest"] = {}
    prepared = prepare_data(counts, dataset="kinds")
    with tempfile.TemporaryDirectory() as folder:
        save_prepared(Path(folder) / "prepared.h5ad", prepared)
        block, _ = load_gene_block(Path(folder) / "prepared.h5ad")
    genes = counts.var_names.get_indexer(prepared.var_names)
    cells = counts.obs_names.get_indexer(prepared.obs_names)
    lineage, time = truth.lineage[cells], truth.time[cells]
    # only genes that are switched on and off have this duration, which is the same in both fates
    off = np.where(np.isfinite(truth.switch_off), truth.switch_off, 0.0)
    time_on = np.max(off - np.where(off > 0, truth.switch_on, 0.0), axis=0)
    true_logs = {
        "ratio": np.log(truth.gamma * truth.unspliced_capture / truth.beta),
        "alpha": np.log(truth.alpha),
        "beta": np.log(truth.beta / truth.unspliced_capture),
        "gamma": np.log(truth.gamma),
        "t_": np.log(np.where(truth.kind == "up_down", time_on, np.nan)),
    }
    rows = []
    for solver in SOLVERS:
        fit = methods.run(block, method="dynamical", solver=solver, velocity="fitted", fit_all_genes=True)
        columns = fit.genes
        fitted_logs = {key: np.log(columns[f"fit_{key}"]) for key in ("alpha", "beta", "gamma", "t_")}
        fitted_logs["ratio"] = fitted_logs["gamma"] - fitted_logs["beta"]
        for k in np.flatnonzero(columns["status"] == "ok"):
            gene = genes[k]
            own = (truth.fate[gene] == BOTH_FATES) | np.isin(lineage, (TRUNK, truth.fate[gene]))
            row = {
                "solver": solver,
                "kind": truth.kind[gene],
                "rank": spearmanr(fit.layers["velocity"][k], velocity[cells, gene]).statistic,
                "time": spearmanr(fit.layers["fit_t"][k][own], time[own]).statistic,
            }
            for key, values in fitted_logs.items():
                row[key] = values[k] - true_logs[key][gene]
                if solver == "mixture" and np.isfinite(row[key]):
                    row[f"{key} covered"] = abs(row[key]) < Z_95 * columns[f"fit_{key}_error"][k]
            rows.append(row)
    return rows


def summarize(table):
    """Return the medians of the scores of genes, which are the rows of a table."""
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
    """Fit all simulations with both solvers, and print scores by kind and the coverage of intervals."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    for options in SIMULATIONS.values():
        for seed in SEEDS:
            rows += score_genes(options | {"seed": 1000 * seed + options["seed"]})
    table = pd.DataFrame(rows)
    by_kind = table.groupby(["kind", "solver"]).apply(summarize, include_groups=False)
    all_kinds = pd.concat({"all": table.groupby("solver").apply(summarize, include_groups=False)})
    print(pd.concat([by_kind, all_kinds]).round(3).to_string())
    covered = [column for column in table if column.endswith("covered")]
    print(table.loc[table["solver"] == "mixture", covered].astype(float).mean().round(3).to_string())


if __name__ == "__main__":
    main()
