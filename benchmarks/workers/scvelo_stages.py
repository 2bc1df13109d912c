"""scVelo's stages, timed on request: `python scvelo_stages.py folder scvelo|scvelo_rs`; see speed.py."""

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
    """Read stages from the standard input; answer with the seconds that each took."""
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

    def build_graph():
        program.tl.velocity_graph(adata, **jobs)

    def project():
        program.tl.velocity_embedding(adata, basis="umap", autoscale=False)

    stages = {"fit": fit, "graph": build_graph, "projection": project}
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
            file["arrows"] = adata.obsm["velocity_umap"]


if __name__ == "__main__":
    main()
