import anndata
import numpy as np
import pandas as pd
from veloshard import runtime
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.io.hdf5 import load_arrays, save_anndata
from veloshard.io.prepared import load_prepared

runtime.start(snakemake)
graph = load_arrays(snakemake.input.graph)
transition_matrix = compute_transition_matrix(graph["graph"], graph["self_transition"])
cells = pd.DataFrame(index=load_prepared(snakemake.input.prepared).cells)
# a matrix without genes, because CellRank's estimators read the type of X
counts = np.empty((len(cells), 0), dtype=np.float32)
result = anndata.AnnData(counts, obs=cells, obsp={"transitions": transition_matrix})
save_anndata(snakemake.output.transition_matrix, result)
