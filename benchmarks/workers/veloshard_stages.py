"""Our stages, timed on request: `python veloshard_stages.py folder threads solver`; see speed.py for the protocol."""

import sys
import time
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/scripts"))

from veloshard import graph, methods, projection, store, transition  # noqa: E402


def main():
    """Read stages from the standard input; answer with the seconds that each took."""
    folder, threads, solver = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    numba.set_num_threads(threads)
    given = store.load_arrays(folder / "velocity.h5")
    distances = store.load_prepared(folder / "prepared.h5ad").distances
    found = {}

    def fit():
        block, fingerprint = store.load_block(folder / "some_genes.h5ad")
        found["fit"] = methods.run(block, method="dynamical", solver=solver, fit_all_genes=True)
        store.save_shard(folder / f"{solver}.h5", found["fit"], block.names, item="1-of-1", fingerprint=fingerprint)

    def build_graph():
        found["graph"] = graph.velocity_graph(given["moments"], given["velocity"], distances)

    def project():
        stay = graph.self_transitions(found["graph"])
        walk = transition.transition_matrix(found["graph"], stay, use_negative_cosines=True)
        found["arrows"] = projection.project(walk, given["places"])

    stages = {"fit": fit, "graph": build_graph, "projection": project}
    for stage in map(str.strip, sys.stdin):
        start = time.perf_counter()
        stages[stage]()
        print(time.perf_counter() - start, flush=True)
    np.save(folder / f"{solver}_alpha.npy", found["fit"].genes["fit_alpha"])
    if "arrows" in found:
        store.save_arrays(folder / "veloshard.h5", {"graph": found["graph"], "arrows": found["arrows"]})


if __name__ == "__main__":
    main()
