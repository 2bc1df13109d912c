"""Time and memory of a fit job as cells grow, on simulated cells: `.venv/bin/python benchmarks/growth.py`.

Each size is a file of 100 genes and a process of its own that does what a gene shard does, on two threads.  Printed are
seconds of the fit, peak memory of the process, and the exponent of the growth of time with cells.  Neighbours are the
nearest cells in true time: to seek them in a hundred thousand cells takes longer than all that is measured here.
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

from veloshard import assemble, store  # noqa: E402

JOB = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from veloshard import methods, store, warm_up
import numba
numba.set_num_threads(2)
warm_up.compile_fit(method="dynamical", solver=sys.argv[4])
start = time.perf_counter()
block, fingerprint = store.load_block(sys.argv[2])
fit = methods.run(block, method="dynamical", fit_all_genes=True, solver=sys.argv[4])
store.save_shard(sys.argv[3], fit, block.names, item="1-of-1", fingerprint=fingerprint)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, (fit.genes["status"] == "ok").sum())
"""
N_GENES, N_NEIGHBORS = 100, 30


def write(path, n_cells):
    """A prepared dataset, with neighbours by time."""
    counts = assemble.simulated_counts(seed=0, n_cells=n_cells, n_genes=N_GENES, depth=N_GENES * 5)
    del counts.layers["true_velocity"]
    order = np.argsort(counts.obs["true_time"].to_numpy())
    rng = np.random.default_rng(0)
    # neighbours lie in memory as far apart as in real data
    near = (np.arange(n_cells)[:, None] + rng.integers(1, 100, (n_cells, N_NEIGHBORS))) % n_cells
    pairs = order.repeat(N_NEIGHBORS), order[near.ravel()]
    graph = sparse.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=(n_cells, n_cells))
    graph = graph.maximum(graph.T).tocsr()
    counts.obsp["connectivities"], counts.obsp["distances"] = graph, graph
    for layer in ("spliced", "unspliced"):
        counts.layers[layer] = counts.layers[layer].astype(np.float32).tocsc()
    counts.uns["prepare"] = {}
    store.save_prepared(path, counts)


def main():
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solver", default="compatible")
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    options = parser.parse_args()
    seconds = []
    for n_cells in options.cells:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prepared.h5ad"
            write(path, n_cells)
            command = [sys.executable, "-c", JOB, ROOT / "workflow/scripts", path, Path(folder) / "shard.h5"]
            answer = subprocess.run([*command, options.solver], capture_output=True, text=True, check=True).stdout
        took, peak, n_fitted = (float(part) for part in answer.split())
        seconds.append(took)
        bound = 200 + 6 * 2 * 4 * n_cells * N_GENES / 1e6
        print(f"{n_cells:7d} cells, {n_fitted:.0f} genes: {took:6.2f} s, {peak:5.0f} MB (bound {bound:.0f} MB)")
    exponent = np.polyfit(np.log(options.cells), np.log(seconds), 1)[0]
    print(f"time grows with cells to the power of {exponent:.2f}")


if __name__ == "__main__":
    main()
