"""Measure time and memory of the dynamical fit for growing numbers of simulated cells.

    .venv/bin/python benchmarks/growth.py
    .venv/bin/python benchmarks/growth.py --solver mixture

For each number of cells, a process fits 100 genes as a gene shard does, with two threads. The script prints the seconds
of the fit, the peak memory of the process, and the exponent with which time grows with cells. Neighbors are the nearest
cells in true time, because a neighbor search among 100,000 cells would take longer than the fit.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow/scripts"))

from veloshard.io.prepared import save_prepared
from veloshard.simulation import simulate_counts

JOB = """
import resource, sys, time
scripts, prepared, shard, solver = sys.argv[1:]
sys.path.insert(0, scripts)
import numba
from veloshard.compilation import compile_fit
from veloshard.io.fits import save_fit_shard
from veloshard.io.prepared import load_gene_block
from veloshard.kinetics import methods
numba.set_num_threads(2)
compile_fit(method="dynamical", solver=solver)
start = time.perf_counter()
block, fingerprint = load_gene_block(prepared)
fit = methods.run(block, method="dynamical", fit_all_genes=True, solver=solver)
save_fit_shard(shard, fit, block.names, shard="1-of-1", fingerprint=fingerprint)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, (fit.genes["status"] == "ok").sum())
"""
N_GENES, N_NEIGHBORS = 100, 30


def write_prepared(path, n_cells):
    """Write a prepared dataset of simulated cells, with neighbors by true time."""
    counts = simulate_counts(seed=0, n_cells=n_cells, n_genes=N_GENES, depth=N_GENES * 5)
    del counts.layers["true_velocity"]
    order = np.argsort(counts.obs["true_time"].to_numpy())
    rng = np.random.default_rng(0)
    # random neighbors within 100 ranks of time are as far apart in memory as in real data
    neighbor_rank = (np.arange(n_cells)[:, None] + rng.integers(1, 100, (n_cells, N_NEIGHBORS))) % n_cells
    pairs = order.repeat(N_NEIGHBORS), order[neighbor_rank.ravel()]
    graph = sparse.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=(n_cells, n_cells))
    graph = graph.maximum(graph.T).tocsr()
    counts.obsp["connectivities"], counts.obsp["distances"] = graph, graph
    for layer in ("spliced", "unspliced"):
        counts.layers[layer] = counts.layers[layer].astype(np.float32).tocsc()
    counts.uns["prepare"] = {}
    save_prepared(path, counts)


def main():
    """Measure each number of cells, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solver", default="scvelo")
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    options = parser.parse_args()
    seconds_of_fits = []
    for n_cells in options.cells:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prepared.h5ad"
            write_prepared(path, n_cells)
            command = [sys.executable, "-c", JOB, ROOT / "workflow/scripts", path, Path(folder) / "shard.h5"]
            output = subprocess.run([*command, options.solver], capture_output=True, text=True, check=True).stdout
        seconds, peak, n_fitted = (float(part) for part in output.split())
        seconds_of_fits.append(seconds)
        bound = 200 + 6 * 2 * 4 * n_cells * N_GENES / 1e6
        print(f"{n_cells:7d} cells, {n_fitted:.0f} genes: {seconds:6.2f} s, {peak:5.0f} MB (bound {bound:.0f} MB)")
    exponent = np.polyfit(np.log(options.cells), np.log(seconds_of_fits), 1)[0]
    print(f"time grows with the number of cells to the power of {exponent:.2f}")


if __name__ == "__main__":
    main()
