"""Speed of the dynamical fit, the velocity graph and the projection, against scVelo and scvelo-rs.

    make .envs/scvelo/installed.lock && .venv/bin/python benchmarks/speed.py ../shared/data/pancreas.h5ad

Each program runs in a process and an environment of its own, with its compiled code warm, and is asked for one stage
at a time, in turn with the others: a noisy machine is noisy for all.  Printed are medians over the rounds and the
median of the ratios within rounds.  The fit is of some genes of all kinds (scVelo takes a third of a second each),
from file to file; ours and scvelo-rs' on two threads, scVelo's with n_jobs=1, which is its fastest for the graph.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow/scripts"))

from veloshard import methods, preprocess, store  # noqa: E402
from veloshard.moments import first_moments  # noqa: E402

WORKERS = ROOT / "benchmarks/workers"
SCVELO = ROOT / ".envs/scvelo/bin/python"
# What each program is asked for.
STAGES = {
    "fit": ("compatible", "converged", "scvelo", "scvelo-rs"),
    "graph": ("compatible", "scvelo"),
    "projection": ("compatible", "scvelo"),
}
THREADS = 2


def prepare(source, embedding, folder, n_genes):
    """Write what the programs start from: the same moments, neighbours, velocities and places for all."""
    counts = anndata.read_h5ad(source)
    counts.uns["ingest"] = {}
    prepared = preprocess.prepare(counts, dataset="speed")
    path = folder / "prepared.h5ad"
    store.save_prepared(path, prepared)
    block, _ = store.load_block(path)
    fit = methods.run(block, method="dynamical", solver="compatible", velocity="fitted")
    chosen = methods.select(fit.genes, method="dynamical")
    prepared.layers["Ms"], prepared.layers["Mu"] = (
        first_moments(layer, block.around).T for layer in (block.spliced, block.unspliced)
    )
    prepared.layers["velocity"] = np.where(np.isfinite(fit.layers["velocity"].T), fit.layers["velocity"].T, 0)
    prepared.var["velocity_genes"] = chosen
    prepared.obsm["X_umap"] = counts[prepared.obs_names].obsm[embedding]
    prepared.write_h5ad(folder / "all_genes.h5ad")
    fitted = np.flatnonzero(fit.genes["status"] == "ok")
    some = fitted[np.linspace(0, len(fitted) - 1, n_genes).astype(int)]
    store.save_prepared(folder / "some_genes.h5ad", prepared[:, some].copy())
    store.save_arrays(
        folder / "velocity.h5",
        {
            "moments": np.ascontiguousarray(prepared.layers["Ms"][:, chosen]),
            "velocity": np.ascontiguousarray(prepared.layers["velocity"][:, chosen]),
            "places": prepared.obsm["X_umap"],
        },
    )
    print(f"{prepared.n_obs} cells, {len(some)} of {len(fitted)} genes fitted, {chosen.sum()} velocity genes")


def start(command, threads):
    """A worker, its libraries on so many threads."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") | {"RAYON_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits)


def ask(worker, stage):
    """Seconds that a worker took for a stage."""
    worker.stdin.write(stage + "\n")
    worker.stdin.flush()
    # scVelo prints as well
    for line in worker.stdout:
        try:
            return float(line)
        except ValueError:
            continue
    raise RuntimeError(f"a worker failed at {stage}")


def compare(folder):
    """Largest differences of our results from scVelo's, of which each arrow is first brought to one length."""
    with h5py.File(folder / "scvelo.h5") as theirs:
        parts = tuple(theirs[part][()] for part in ("data", "indices", "indptr"))
        graph, arrows = sparse.csr_matrix(parts, shape=theirs.attrs["shape"]), theirs["arrows"][()]
    ours = store.load_arrays(folder / "veloshard.h5")
    scale = np.median(np.linalg.norm(ours["arrows"], axis=1) / np.linalg.norm(arrows, axis=1))
    alpha = np.load(folder / "compatible_alpha.npy"), np.load(folder / "scvelo_alpha.npy")
    return {
        "alpha, relative, median": np.nanmedian(np.abs(alpha[0] / alpha[1] - 1)),
        "cosines, largest": abs(ours["graph"] - graph).max(),
        "arrows, largest of the longest": np.abs(ours["arrows"] / scale - arrows).max()
        / np.linalg.norm(arrows, axis=1).max(),
    }


def main():
    """Measure in rounds, print medians, ratios and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--embedding", default="X_umap")
    parser.add_argument("--genes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(options.source, options.embedding, folder, options.genes)
        workers = {
            solver: start([sys.executable, WORKERS / "veloshard_stages.py", folder, str(THREADS), solver], THREADS)
            for solver in ("compatible", "converged")
        }
        workers |= {
            "scvelo": start([SCVELO, "-I", WORKERS / "scvelo_stages.py", folder, "scvelo"], 1),
            "scvelo-rs": start([SCVELO, "-I", WORKERS / "scvelo_stages.py", folder, "scvelo_rs"], THREADS),
        }
        rows = []
        # the first round compiles and fills caches, and does not count
        for number in range(options.rounds + 1):
            for stage, programs in STAGES.items():
                for program in programs:
                    rows.append((number, stage, program, ask(workers[program], stage)))
        for worker in workers.values():
            worker.communicate()
        table = pd.DataFrame(rows, columns=["round", "stage", "program", "seconds"]).query("round > 0")
        seconds = table.pivot_table(index=["stage", "round"], columns="program", values="seconds", sort=False)
        for ours in ("compatible", "converged"):
            for theirs in ("scvelo", "scvelo-rs"):
                seconds[f"{theirs} / {ours}"] = seconds[theirs] / seconds[ours]
        print(seconds.groupby("stage", sort=False).median().round(3).to_string())
        for what, difference in compare(folder).items():
            print(f"{what}: {difference:.1e}")


if __name__ == "__main__":
    main()
