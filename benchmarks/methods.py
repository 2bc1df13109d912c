"""Every method on all data at hand, through the workflow: the truth, known directions, time and memory.

    .venv/bin/python benchmarks/methods.py
    .venv/bin/python benchmarks/methods.py dynamical velovi unitvelo --only pancreas --folder somewhere

Methods are entries of the config's `methods`, with their default options.  One whose environment is not installed is
left out, and one that fails on a dataset too; the tables say so.  With `--folder` results are kept, and what is there
is not computed again.  Data: the simulator's and the public simulations of `truth.py`, with true velocities as there,
two more whose times are known, mouse pancreas and dentate gyrus.  Each method is scored in its own velocity genes:

genes               how many those are
cosine, sign        with the true velocities, medians over cells and over genes
rank_of_cells       rank correlation with the true velocity over cells, median over genes: free of their scales
time                rank correlation with the true time of the model's own, else of latent, else of pseudotime
cosine with others  mean over the other methods, median over cells
coherence           mean cosine of velocities of neighbours of one cluster
from root           mean cosine of the arrows at the border of the root's cluster with the ways across it
direction           the same of transitions that are known, mean over them
s, MB               of the jobs of the fit, as Snakemake measured them
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import truth
import yaml
from veloshard import preprocess, provenance, store

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data"
GENE_WISE = ("steady_state", "stochastic", "dynamical")
MODELS = {path.stem for path in (ROOT / "workflow/schemas/models").glob("*.yaml")}
TRUTH = "(truth)"
N_TOP_GENES = 1000
# columns of true times, and what else is known of simulations
TIMES = {"Gorin 2022": "time", "dyngen linear": "sim_time"}
KNOWN = {
    "Gorin 2022": {"clusters": "celltype", "root": 0, "expected": [[0, 1], [1, 2], [1, 3], [1, 4]]},
    "SERGIO DS6": {
        "clusters": "cell_type",
        "root": "T0",
        "expected": [["T0", "T1"], ["T1", "T2"], ["T2", "T3"], ["T2", "T4"], ["T2", "T5"]],
    },
}
MORE_TIMES = {
    "dyngen bifurcating": ("dyngen_bifurcating_1000x250.h5ad", "global_time"),
    "UniTVelo's dyngen": ("unitvelo_dyngen_2000x264.h5ad", "sim_time"),
}
DENTATE = {
    "clusters": "clusters",
    "embedding": "X_umap",
    "root": "nIPC",
    "expected": [["nIPC", "Neuroblast"], ["Neuroblast", "Granule immature"], ["Granule immature", "Granule mature"]],
}


def datasets():
    """Names of the datasets at hand, with functions of a folder that return the config of each: copies lie there."""
    found = {
        name: lambda folder, name=name, load=load: simulation(folder, name, load(), TIMES.get(name, "true_time"))
        for name, load in truth.datasets().items()
    }
    if not DATA.exists():
        return found
    for name, (file, time) in MORE_TIMES.items():
        found[name] = lambda folder, name=name, file=file, time=time: simulation(folder, name, truth.public(file), time)
    return {
        **found,
        "dentate gyrus": lambda _: {"source": str(DATA.resolve() / "dentategyrus_200.h5ad"), **DENTATE},
        "pancreas": lambda _: pancreas(),
    }


def pancreas():
    """Config of the pancreas, with the transitions that are known: that of the example."""
    (options,) = yaml.safe_load((ROOT / "config/examples/pancreas.yaml").read_text())["datasets"].values()
    return {**options, "source": str((ROOT / options["source"]).resolve())}


def simulation(folder, name, known, time):
    """Config of a `truth.Known`, whose truth goes into a copy by the names that the workflow looks for."""
    path = folder / f"{slug(name)}.h5ad"
    options = KNOWN.get(name, {})
    if name in truth.SIMULATIONS:
        options = {"clusters": "clusters", "root": "Progenitor"}
    if not path.exists():
        counts = known.counts.copy()
        if time in counts.obs:
            counts.obs["true_time"] = counts.obs[time].astype(float)
        if known.velocity is not None or known.rates:
            counts.layers[store.TRUE_VELOCITY] = true_velocity(known)
        counts.write_h5ad(path)
    return {"source": str(path.resolve()), **options}


def true_velocity(known):
    """True velocities of all cells and genes, float32; NaN where cells or genes are not kept."""
    known.counts.uns["ingest"] = {}
    prepared = preprocess.prepare(known.counts, dataset="known", n_top_genes=N_TOP_GENES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.h5ad"
        store.save_prepared(path, prepared)
        cells, genes, velocity = truth.true_velocities(known, prepared, *truth.moments(path))
    whole = np.full(known.counts.shape, np.nan, dtype=np.float32)
    whole[np.ix_(cells, genes)] = velocity
    return whole


def slug(name):
    """A dataset's name as the config allows it."""
    return re.sub("[^A-Za-z0-9]+", "_", name)


def run(folder, name, options, methods, cores):
    """Run a dataset by all methods, then compare those that ended; returns their rows and the reasons of the others."""
    dataset = slug(name)
    results = folder / "results" / dataset
    run_workflow(folder, dataset, options, methods, [f"{results}/{method}/trust.json" for method in methods], cores)
    ended = [method for method in methods if (results / method / "trust.json").exists()]
    failed = {method: reason_of(folder / "logs" / dataset / method) for method in methods if method not in ended}
    if len(ended) < 2:
        return [], {**failed, **dict.fromkeys(ended, "nothing to compare it with")}
    files = [results / "comparison.csv", results / "methods.csv"]
    run_workflow(folder, dataset, options, ended, files, cores)
    pairs, found = (pd.read_csv(path, dtype={"method": str, "other": str}) for path in files)
    costs = provenance.costs_of_methods(provenance.jobs_table(folder / "results/benchmarks"), dataset)
    against = pairs[pairs["other"] == TRUTH].set_index("method")
    rows = [
        row_of(name, row, against.loc[row["method"]] if row["method"] in against.index else {}, costs)
        for row in found.to_dict("records")
    ]
    return rows, failed


def run_workflow(folder, dataset, options, methods, targets, cores):
    """Run Snakemake to some files, as far as it goes."""
    config = {
        "datasets": {dataset: options},
        "methods": {method: {} for method in methods},
        "preprocess": {"n_top_genes": N_TOP_GENES},
        "shards": 1,
        "compiled": str(ROOT / ".compiled"),
    }
    configfile = folder / f"{dataset}.yaml"
    configfile.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--configfile", configfile, "--cores", str(cores), "--keep-going", "--rerun-incomplete"]
    command += ["--quiet", "all", "--", *(Path(target).relative_to(folder) for target in targets)]
    with (folder / f"{dataset}.log").open("a") as log:
        subprocess.run(command, stdout=log, stderr=log)


def reason_of(logs):
    """Last line of what a method's jobs said."""
    written = [
        path.read_text().splitlines() for path in sorted(logs.rglob("*.log"), key=lambda path: path.stat().st_mtime)
    ]
    return next((lines[-1] for lines in reversed(written) if lines), "failed")


def row_of(name, row, against, costs):
    """Numbers of a method for the table: `row` of methods.csv, `against` the truth of comparison.csv."""
    cost = costs[costs["method"] == row["method"]].to_dict("records")
    times = [against.get(time, math.nan) for time in ("model_time", "latent_time", "velocity_pseudotime")]
    return {
        "dataset": name,
        "method": row["method"],
        "genes": row["velocity_genes"],
        **{measure: against.get(measure, math.nan) for measure in ("cosine", "rank_of_cells", "sign")},
        "time": next((time for time in times if np.isfinite(time)), math.nan),
        "cosine with others": row["cosine_with_others"],
        "coherence": row["coherence_in_clusters"],
        "from root": row["direction_from_root"],
        "direction": row["direction"],
        "verdict": row["verdict"],
        "s": cost[0]["seconds of the fit"] if cost else math.nan,
        "MB": cost[0]["peak MB of the fit"] if cost else math.nan,
        **{key: value for key, value in row.items() if " > " in key},
    }


def as_markdown(table):
    """A table for the README; numbers below 2 with two digits, no others."""

    def text(value):
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 2 else f"{value:.0f}"

    rows = [list(table), ["---"] * table.shape[1], *([text(value) for value in row] for row in table.to_numpy())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    """Run and print: a table of all, the directions of each dataset that has such, and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=GENE_WISE, metavar="method")
    parser.add_argument("--only", nargs="*", help="datasets whose names contain one of these", default=[""])
    parser.add_argument("--folder", type=Path, help="where results are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    unknown = sorted({*options.methods} - {*GENE_WISE, *MODELS})
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join([*GENE_WISE, *sorted(MODELS)])}")
    left_out = {
        method: f"not installed: make .envs/{method}/installed.lock"
        for method in options.methods
        if method in MODELS and not (ROOT / f".envs/{method}/installed.lock").exists()
    }
    methods = [method for method in options.methods if method not in left_out]
    rows, reasons = [], [f"{method}: {reason}" for method, reason in left_out.items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name, configured in datasets().items():
            if any(part in name for part in options.only):
                found, failed = run(folder, name, configured(folder), methods, options.cores)
                rows += found
                reasons += [f"{method} on {name}: {reason}" for method, reason in failed.items()]
    table = pd.DataFrame(rows)
    directions = [column for column in table if " > " in column]
    print(as_markdown(table.drop(columns=directions).dropna(axis=1, how="all")))
    for name, found in table.groupby("dataset", sort=False):
        known = found[["method", *directions]].dropna(axis=1, how="all")
        if known.shape[1] > 1:
            print(f"\n{name}, directions\n\n{as_markdown(known)}")
    if reasons:
        print("\nLeft out:\n\n" + "\n".join(f"- {reason}" for reason in reasons))


if __name__ == "__main__":
    main()
