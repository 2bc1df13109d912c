import anndata
from veloshard import preprocess, runtime, store

runtime.start(snakemake)
counts = anndata.read_h5ad(snakemake.input.counts)
prepared = preprocess.prepare(counts, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
store.save_prepared(snakemake.output.prepared, prepared)
store.save_json(snakemake.output.sizes, store.sizes(prepared))
