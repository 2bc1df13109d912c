from veloshard import ingest, runtime

runtime.start(snakemake)
counts = ingest.ingest(snakemake.input.source, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
counts.write_h5ad(snakemake.output[0])
