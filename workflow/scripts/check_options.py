from veloshard import options, runtime, store

runtime.start(snakemake)
counts = store.load_annotations(snakemake.input.counts)
warnings = options.check_options(counts, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
store.save_json(snakemake.output[0], {"warnings": warnings})
