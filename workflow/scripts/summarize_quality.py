from veloshard import quality, runtime, store

runtime.start(snakemake)
summary = quality.quality_control(
    store.load_annotations(snakemake.input.prepared),
    clusters=snakemake.params.clusters,
    **store.load_json(snakemake.input.checked),
    **snakemake.params.thresholds,
)
store.save_json(snakemake.output[0], summary)
