import anndata
from veloshard import preprocess, quality, runtime, store

runtime.start(snakemake)
counts = anndata.read_h5ad(snakemake.input.counts)
clusters = snakemake.params.clusters
prepared = preprocess.prepare(counts, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
store.save_prepared(snakemake.output.prepared, prepared, clusters=clusters)
store.save_json(snakemake.output.sizes, store.sizes(prepared))
store.save_json(snakemake.output.quality, quality.quality_control(prepared, clusters=clusters))
