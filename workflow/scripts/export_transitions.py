import anndata
import pandas as pd
from veloshard import runtime, store, transition

runtime.start(snakemake)
graph = store.load_arrays(snakemake.input.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"])
cells = pd.DataFrame(index=store.load_prepared(snakemake.input.prepared).cells)
anndata.AnnData(obs=cells, obsp={"transitions": walk}).write_h5ad(snakemake.output[0])
