from veloshard import options, runtime, store

runtime.start(snakemake)
counts = store.load_annotations(snakemake.input.counts)
options.check_fields(counts, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
