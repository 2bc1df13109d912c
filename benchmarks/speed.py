"""Compare the speed of dynamical fit, velocity graph and velocity embedding with scVelo and scvelo-rs.

    make .envs/scvelo/installed.lock && .venv/bin/python benchmarks/speed.py ../shared/data/pancreas.h5ad

Each program runs in its own process and environment, with compiled code in memory. The programs run one stage at a
time, in turn, so that noise of the machine affects all of them. The script prints medians over the rounds, and the
median of the ratios within rounds. The fit includes reading and writing, and uses a subset of the genes, because scVelo
takes a third of a second per gene. Ours and scvelo-rs run with two threads, and scVelo with n_jobs=1, which is its
fastest setting for the graph.
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

from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics import methods
from veloshard.preprocessing.moments import first_moments
from veloshard.preprocessing.prepare import prepare_data

WORKERS = ROOT / "benchmarks/workers"
SCVELO = ROOT / ".envs/scvelo/bin/python"
# stages, and the programs that run each
STAGES = {
    "fit": ("veloshard scvelo", "veloshard mixture", "scvelo", "scvelo-rs"),
    "graph": ("veloshard scvelo", "scvelo"),
    "embedding": ("veloshard scvelo", "scvelo"),
}
THREADS = 2


def prepare(source, embedding, folder, n_genes):
    """Write the input of all programs: moments, neighbors, velocities and embedding."""
    counts = anndata.read_h5ad(source)
    counts.uns["ingest"] = {}
    prepared = prepare_data(counts, dataset="speed")
    path = folder / "prepared.h5ad"
    save_prepared(path, prepared)
    block, _ = load_gene_block(path)
    fit = methods.run(block, method="dynamical", solver="scvelo", velocity="fitted")
    velocity_genes = methods.select(fit.genes, method="dynamical")
    prepared.layers["Ms"], prepared.layers["Mu"] = (
        first_moments(layer, block.neighborhood).T for layer in (block.spliced, block.unspliced)
    )
    prepared.layers["velocity"] = np.where(np.isfinite(fit.layers["velocity"].T), fit.layers["velocity"].T, 0)
    prepared.var["velocity_genes"] = velocity_genes
    prepared.obsm["X_umap"] = counts[prepared.obs_names].obsm[embedding]
    prepared.write_h5ad(folder / "all_genes.h5ad")
    fitted = np.flatnonzero(fit.genes["status"] == "ok")
    subset = fitted[np.linspace(0, len(fitted) - 1, n_genes).astype(int)]
    save_prepared(folder / "some_genes.h5ad", prepared[:, subset].copy())
    save_arrays(
        folder / "velocity.h5",
        {
            "moments": np.ascontiguousarray(prepared.layers["Ms"][:, velocity_genes]),
            "velocity": np.ascontiguousarray(prepared.layers["velocity"][:, velocity_genes]),
            "embedding": prepared.obsm["X_umap"],
        },
    )
    print(f"{prepared.n_obs} cells, {len(subset)} of {len(fitted)} genes fitted, {velocity_genes.sum()} velocity genes")


def start(command, threads):
    """Start a worker whose libraries use one thread, or `threads` in Rust."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") | {"RAYON_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits)


def run_stage(worker, stage):
    """Return the seconds that a worker takes for a stage."""
    worker.stdin.write(stage + "\n")
    worker.stdin.flush()
    # other lines are output of scVelo
    for line in worker.stdout:
        try:
            return float(line)
        except ValueError:
            continue
    raise RuntimeError(f"a worker failed at {stage}")


def compare(folder):
    """Return differences of our results from scVelo's. Velocity embeddings are compared after scaling to one length."""
    with h5py.File(folder / "scvelo.h5") as theirs:
        parts = tuple(theirs[part][()] for part in ("data", "indices", "indptr"))
        graph = sparse.csr_matrix(parts, shape=theirs.attrs["shape"])
        velocity_embedding = theirs["velocity_embedding"][()]
    ours = load_arrays(folder / "veloshard.h5")
    lengths = np.linalg.norm(velocity_embedding, axis=1)
    scale = np.median(np.linalg.norm(ours["velocity_embedding"], axis=1) / lengths)
    alpha = np.load(folder / "veloshard_scvelo_alpha.npy"), np.load(folder / "scvelo_alpha.npy")
    return {
        "alpha, median relative difference": np.nanmedian(np.abs(alpha[0] / alpha[1] - 1)),
        "cosines, largest difference": abs(ours["graph"] - graph).max(),
        "velocity embedding, largest difference over largest length": np.abs(
            ours["velocity_embedding"] / scale - velocity_embedding
        ).max()
        / lengths.max(),
    }


def main():
    """Measure all stages in rounds, and print medians, ratios and differences."""
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
            f"veloshard {solver}": start(
                [sys.executable, WORKERS / "veloshard_stages.py", folder, str(THREADS), solver], THREADS
            )
            for solver in ("scvelo", "mixture")
        }
        workers |= {
            "scvelo": start([SCVELO, "-I", WORKERS / "scvelo_stages.py", folder, "scvelo"], 1),
            "scvelo-rs": start([SCVELO, "-I", WORKERS / "scvelo_stages.py", folder, "scvelo_rs"], THREADS),
        }
        rows = []
        # the first round, which compiles and fills caches, is discarded
        for number in range(options.rounds + 1):
            for stage, programs in STAGES.items():
                for program in programs:
                    rows.append((number, stage, program, run_stage(workers[program], stage)))
        for worker in workers.values():
            worker.communicate()
        table = pd.DataFrame(rows, columns=["round", "stage", "program", "seconds"]).query("round > 0")
        seconds = table.pivot_table(index=["stage", "round"], columns="program", values="seconds", sort=False)
        for ours in ("veloshard scvelo", "veloshard mixture"):
            for theirs in ("scvelo", "scvelo-rs"):
                seconds[f"{theirs} / {ours}"] = seconds[theirs] / seconds[ours]
        print(seconds.groupby("stage", sort=False).median().round(3).to_string())
        for name, difference in compare(folder).items():
            print(f"{name}: {difference:.1e}")


if __name__ == "__main__":
    main()
