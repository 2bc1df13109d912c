from veloshard import ingest, runtime, store

runtime.start(snakemake)
counts = ingest.ingest(
    snakemake.params.source,
    dataset=snakemake.wildcards.dataset,
    sha256=snakemake.params.content,
    **snakemake.params.options,
)
counts.write_h5ad(snakemake.output.counts)
store.save_json(snakemake.output.sizes, store.sizes(counts))
