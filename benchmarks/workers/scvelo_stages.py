"""Run and time stages of scVelo or scvelo-rs on request: `python scvelo_stages.py folder scvelo|scvelo_rs`.

The protocol is that of speed.py: names of stages on the standard input, seconds on the standard output.
"""

import importlib
import sys
import time
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import scvelo


def main():
    """Read names of stages from the standard input, and print the seconds that each takes."""
    warnings.filterwarnings("ignore")
    scvelo.settings.verbosity = 0
    folder, name = Path(sys.argv[1]), sys.argv[2]
    program = importlib.import_module(name)
    some_genes = anndata.read_h5ad(folder / "some_genes.h5ad")
    adata = anndata.read_h5ad(folder / "all_genes.h5ad")
    jobs = {"n_jobs": 1, "show_progress_bar": False} if name == "scvelo" else {}

    def fit():
        program.tl.recover_dynamics(some_genes, var_names="all", **jobs)
        some_genes.write_h5ad(folder / f"{name}.h5ad")

    def compute_velocity_graph():
        program.tl.velocity_graph(adata, **jobs)

    def compute_velocity_embedding():
        program.tl.velocity_embedding(adata, basis="umap", autoscale=False)

    stages = {"fit": fit, "graph": compute_velocity_graph, "embedding": compute_velocity_embedding}
    for stage in map(str.strip, sys.stdin):
        start = time.perf_counter()
        stages[stage]()
        print(time.perf_counter() - start, flush=True)
    np.save(folder / f"{name}_alpha.npy", some_genes.var["fit_alpha"])
    if "velocity_graph" in adata.uns:
        graph = (adata.uns["velocity_graph"] + adata.uns["velocity_graph_neg"]).tocsr()
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.attrs["shape"] = graph.shape
            for part in ("data", "indices", "indptr"):
                file[part] = getattr(graph, part)
            file["velocity_embedding"] = adata.obsm["velocity_umap"]


if __name__ == "__main__":
    main()
