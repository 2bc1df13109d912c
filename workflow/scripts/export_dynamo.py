import anndata
from veloshard import dynamo, runtime, store

runtime.start(snakemake)
files = snakemake.input
result = dynamo.dynamo_input(
    anndata.read_h5ad(files.prepared), genes=store.load_fit_genes(files.fit), places=store.load_arrays(files.embedding)
)
result.write_h5ad(snakemake.output[0])
# Dynamo's own files have zeros where nothing was fitted
store.add_layers(snakemake.output[0], files.prepared, files.fit, names=dynamo.LAYERS, missing=0)
