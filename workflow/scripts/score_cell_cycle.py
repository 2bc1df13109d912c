import anndata
from veloshard import cell_cycle, runtime, store

runtime.start(snakemake)
scores = cell_cycle.score_cell_cycle(
    anndata.read_h5ad(snakemake.input.counts),
    store.load_prepared(snakemake.input.prepared).cells,
    random_state=snakemake.params.random_state,
)
store.save_arrays(snakemake.output[0], scores)
