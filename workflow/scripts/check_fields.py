from veloshard import options, runtime, store

runtime.start(snakemake)
prepared = store.load_annotations(snakemake.input.prepared)
options.check_fields(prepared, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
