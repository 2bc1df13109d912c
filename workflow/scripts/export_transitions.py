import anndata
import numpy as np
import pandas as pd
from veloshard import runtime, store, transition

runtime.start(snakemake)
graph = store.load_arrays(snakemake.input.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"])
cells = pd.DataFrame(index=store.load_prepared(snakemake.input.prepared).cells)
# of no gene, but there: CellRank's estimators look at its type
counts = np.empty((len(cells), 0), dtype=np.float32)
anndata.AnnData(counts, obs=cells, obsp={"transitions": walk}).write_h5ad(snakemake.output[0])
