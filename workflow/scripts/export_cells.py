import anndata
from veloshard import exchange, runtime, store

runtime.start(snakemake)
files = snakemake.input
prepared = anndata.read_h5ad(files.prepared)
(embedding,) = store.load_arrays(files.embedding).values()
exchange.save_cells(
    snakemake.output[0],
    prepared,
    store.load_counts(files.counts, prepared.obs_names),
    embedding=embedding,
    clusters=snakemake.params.clusters,
)
