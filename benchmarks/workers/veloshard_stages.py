"""Run and time stages of veloshard on request: `python veloshard_stages.py folder threads solver`.

The protocol is that of speed.py: names of stages on the standard input, seconds on the standard output.
"""

import sys
import time
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/scripts"))

from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import compute_velocity_embedding
from veloshard.graph.velocity_graph import compute_velocity_graph, self_transitions
from veloshard.io.fits import save_fit_shard
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.prepared import load_gene_block, load_prepared
from veloshard.kinetics import methods


def main():
    """Read names of stages from the standard input, and print the seconds that each takes."""
    folder, threads, solver = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    numba.set_num_threads(threads)
    arrays = load_arrays(folder / "velocity.h5")
    distances = load_prepared(folder / "prepared.h5ad").distances
    results = {}

    def fit():
        block, fingerprint = load_gene_block(folder / "some_genes.h5ad")
        results["fit"] = methods.run(block, method="dynamical", solver=solver, fit_all_genes=True)
        path = folder / f"veloshard_{solver}.h5"
        save_fit_shard(path, results["fit"], block.names, shard="1-of-1", fingerprint=fingerprint)

    def velocity_graph():
        results["graph"] = compute_velocity_graph(arrays["moments"], arrays["velocity"], distances)

    def velocity_embedding():
        self_transition = self_transitions(results["graph"])
        transition_matrix = compute_transition_matrix(results["graph"], self_transition, use_negative_cosines=True)
        results["velocity_embedding"] = compute_velocity_embedding(transition_matrix, arrays["embedding"])

    stages = {"fit": fit, "graph": velocity_graph, "embedding": velocity_embedding}
    for stage in map(str.strip, sys.stdin):
        start = time.perf_counter()
        stages[stage]()
        print(time.perf_counter() - start, flush=True)
    np.save(folder / f"veloshard_{solver}_alpha.npy", results["fit"].genes["fit_alpha"])
    if "velocity_embedding" in results:
        save_arrays(folder / "veloshard.h5", {name: results[name] for name in ("graph", "velocity_embedding")})


if __name__ == "__main__":
    main()
