"""Run every method on all data with the workflow, and compare truth, known directions, time and memory.

    .venv/bin/python benchmarks/methods.py
    .venv/bin/python benchmarks/methods.py dynamical velovi unitvelo --only pancreas --folder results_of_benchmark

Methods are entries of `methods` in the config, with default options. Methods that are not installed, or fail on a
dataset, are left out and listed after the tables. With `--folder`, results are kept, and existing ones are not computed
again. The data are those of `truth.py` with their true velocities, two more simulations with known times, mouse
pancreas and dentate gyrus. Each method is scored in its own velocity genes:

genes               number of velocity genes
cosine, sign        agreement with the true velocities, medians over cells and over genes
rank_of_cells       rank correlation with the true velocity over cells, median over genes; independent of their scales
time                rank correlation with the true time, of the model's own time, or else latent time or pseudotime
cosine with others  mean over the other methods of the median cosine over cells
coherence           mean cosine between velocities of neighbors in the same cluster
from root           mean cosine between the velocity embedding and the direction out of the root cluster, at its border
direction           the same for known transitions between clusters, mean over transitions
s, MB               time and peak memory of the jobs of the fit, measured by Snakemake
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
from veloshard.io.prepared import TRUE_VELOCITY, save_prepared
from veloshard.preprocessing.prepare import prepare_data
from veloshard.report import provenance

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data"
NATIVE_METHODS = ("steady_state", "stochastic", "dynamical")
MODELS = {path.stem for path in (ROOT / "workflow/scripts/models").glob("*.py")}
RULES = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")} | {"run_model_on_negative_control"}
# name of the truth among the methods of comparison.csv
TRUTH = "(truth)"
N_TOP_GENES = 1000
# columns of true times, and options of simulations
TIME_COLUMNS = {"Gorin 2022": "time", "dyngen linear": "sim_time"}
OPTIONS = {
    "Gorin 2022": {"clusters": "celltype", "root": 0, "expected": [[0, 1], [1, 2], [1, 3], [1, 4]]},
    "SERGIO DS6": {
        "clusters": "cell_type",
        "root": "T0",
        "expected": [["T0", "T1"], ["T1", "T2"], ["T2", "T3"], ["T2", "T4"], ["T2", "T5"]],
    },
}
# further simulations, which have true times but no true velocities: file and column of the time
SIMULATIONS_WITH_TIMES = {
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
    """Return functions that give the config of each available dataset, by name.

    Their argument is a folder for copies of the data.
    """
    configs = {
        name: lambda folder, name=name, load=load: simulation_config(
            folder, name, load(), TIME_COLUMNS.get(name, "true_time")
        )
        for name, load in truth.datasets().items()
    }
    if not DATA.exists():
        return configs
    for name, (file, time) in SIMULATIONS_WITH_TIMES.items():
        configs[name] = lambda folder, name=name, file=file, time=time: simulation_config(
            folder, name, truth.load_public_dataset(file), time
        )
    return {
        **configs,
        "dentate gyrus": lambda _: {"source": str(DATA.resolve() / "dentategyrus_200.h5ad"), **DENTATE},
        "pancreas": lambda _: pancreas_config(),
    }


def pancreas_config():
    """Return the config of the pancreas from the example, which has known transitions."""
    (options,) = yaml.safe_load((ROOT / "config/examples/pancreas.yaml").read_text())["datasets"].values()
    return {**options, "source": str((ROOT / options["source"]).resolve())}


def simulation_config(folder, name, dataset, time):
    """Return the config of a simulation, after writing a copy with the truth under the workflow's names.

    Parameters
    ----------
    folder : Path
        Folder for the copy.
    name : str
        Name of the dataset.
    dataset : truth.Dataset
        Counts and their truth.
    time : str
        Column of the true time.

    Returns
    -------
    dict
        Options of the dataset.
    """
    path = folder / f"{slug(name)}.h5ad"
    options = OPTIONS.get(name, {})
    if name in truth.SIMULATIONS:
        options = {"clusters": "clusters", "root": "Progenitor"}
    if not path.exists():
        counts = dataset.counts.copy()
        if time in counts.obs:
            counts.obs["true_time"] = counts.obs[time].astype(float)
        if dataset.velocity is not None or dataset.rates:
            counts.layers[TRUE_VELOCITY] = true_velocity(dataset)
        counts.write_h5ad(path)
    return {"source": str(path.resolve()), **options}


def true_velocity(dataset):
    """Return the true velocities of all cells and genes, float32; NaN for cells and genes that are not kept."""
    dataset.counts.uns["ingest"] = {}
    prepared = prepare_data(dataset.counts, dataset="truth", n_top_genes=N_TOP_GENES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.h5ad"
        save_prepared(path, prepared)
        cells, genes, velocity = truth.true_velocities(dataset, prepared, *truth.load_moments(path))
    all_velocities = np.full(dataset.counts.shape, np.nan, dtype=np.float32)
    all_velocities[np.ix_(cells, genes)] = velocity
    return all_velocities


def slug(name):
    """Return the name of a dataset with the characters that the config allows."""
    return re.sub("[^A-Za-z0-9]+", "_", name)


def run(folder, name, options, methods, cores):
    """Run all methods on a dataset, and compare those that succeed.

    Parameters
    ----------
    folder : Path
        Working directory of the workflow.
    name : str
        Name of the dataset.
    options : dict
        Options of the dataset.
    methods : list of str
        Names of the methods.
    cores : int
        Number of cores.

    Returns
    -------
    rows : list of dict
        Scores of each method that succeeded.
    reasons : dict of str to str
        Reason of each method that did not.
    """
    dataset = slug(name)
    results = folder / "results" / dataset
    run_workflow(folder, dataset, options, methods, [f"{results}/{method}/trust.json" for method in methods], cores)
    successful = [method for method in methods if (results / method / "trust.json").exists()]
    reasons = {
        method: last_log_line(folder / "logs" / dataset / method) for method in methods if method not in successful
    }
    if len(successful) < 2:
        return [], {**reasons, **dict.fromkeys(successful, "no other method to compare it with")}
    files = [results / "comparison.csv", results / "methods.csv"]
    run_workflow(folder, dataset, options, successful, files, cores)
    pairs, scores = (pd.read_csv(path, dtype={"method": str, "other": str}) for path in files)
    jobs = provenance.jobs_table(folder / "results/benchmarks", rules=RULES)
    costs = provenance.costs_of_methods(jobs, dataset)
    with_truth = pairs[pairs["other"] == TRUTH].set_index("method")
    rows = [
        table_row(name, row, with_truth.loc[row["method"]] if row["method"] in with_truth.index else {}, costs)
        for row in scores.to_dict("records")
    ]
    return rows, reasons


def run_workflow(folder, dataset, options, methods, targets, cores):
    """Run Snakemake for some target files. Jobs that do not depend on failed ones are also run."""
    config = {
        "datasets": {dataset: options},
        "methods": {method: {} for method in methods},
        "preprocess": {"n_top_genes": N_TOP_GENES},
        "genes_per_shard": N_TOP_GENES,
        "compiled": str(ROOT / ".compiled"),
    }
    configfile = folder / f"{dataset}.yaml"
    configfile.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder]
    command += ["--configfile", configfile, "--cores", str(cores), "--keep-going", "--rerun-incomplete"]
    command += ["--quiet", "all", "--", *(Path(target).relative_to(folder) for target in targets)]
    with (folder / f"{dataset}.log").open("a") as log:
        subprocess.run(command, stdout=log, stderr=log)


def last_log_line(logs):
    """Return the last line of the newest log file in a folder that is not empty."""
    logs_by_time = [
        path.read_text().splitlines() for path in sorted(logs.rglob("*.log"), key=lambda path: path.stat().st_mtime)
    ]
    return next((lines[-1] for lines in reversed(logs_by_time) if lines), "failed")


def table_row(name, row, with_truth, costs):
    """Return the table row of a method.

    Parameters
    ----------
    name : str
        Name of the dataset.
    row : dict
        Row of methods.csv.
    with_truth : mapping
        Row of comparison.csv that compares the method with the truth; may be empty.
    costs : DataFrame
        Time and memory of each method.

    Returns
    -------
    dict
        Values by column.
    """
    cost = costs[costs["method"] == row["method"]].to_dict("records")
    times = [with_truth.get(time, math.nan) for time in ("model_time", "latent_time", "velocity_pseudotime")]
    return {
        "dataset": name,
        "method": row["method"],
        "genes": row["velocity_genes"],
        **{measure: with_truth.get(measure, math.nan) for measure in ("cosine", "rank_of_cells", "sign")},
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
    """Return a table in Markdown for the README, with two decimals for numbers below 2 and none for others."""

    def text(value):
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 2 else f"{value:.0f}"

    rows = [list(table), ["---"] * table.shape[1], *([text(value) for value in row] for row in table.to_numpy())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    """Run all methods, and print the scores, the directions of each dataset, and the methods that were left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=NATIVE_METHODS, metavar="method")
    parser.add_argument("--only", nargs="*", help="datasets whose names contain one of these", default=[""])
    parser.add_argument("--folder", type=Path, help="folder in which results are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    unknown = sorted({*options.methods} - {*NATIVE_METHODS, *MODELS})
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join([*NATIVE_METHODS, *sorted(MODELS)])}")
    not_installed = {
        method: f"not installed: make .envs/{method}/installed.lock"
        for method in options.methods
        if method in MODELS and not (ROOT / f".envs/{method}/installed.lock").exists()
    }
    methods = [method for method in options.methods if method not in not_installed]
    rows, reasons = [], [f"{method}: {reason}" for method, reason in not_installed.items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name, get_config in datasets().items():
            if any(part in name for part in options.only):
                dataset_rows, dataset_reasons = run(folder, name, get_config(folder), methods, options.cores)
                rows += dataset_rows
                reasons += [f"{method} on {name}: {reason}" for method, reason in dataset_reasons.items()]
    table = pd.DataFrame(rows)
    transitions = [column for column in table if " > " in column]
    print(as_markdown(table.drop(columns=transitions).dropna(axis=1, how="all")))
    for name, of_dataset in table.groupby("dataset", sort=False):
        directions = of_dataset[["method", *transitions]].dropna(axis=1, how="all")
        if directions.shape[1] > 1:
            print(f"\n{name}, directions\n\n{as_markdown(directions)}")
    if reasons:
        print("\nLeft out:\n\n" + "\n".join(f"- {reason}" for reason in reasons))


if __name__ == "__main__":
    main()
