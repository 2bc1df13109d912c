from veloshard import external, methods, runtime, store

runtime.start(snakemake)
files, wildcards = snakemake.input, snakemake.wildcards
block, _ = store.load_block(files.prepared)
fit, of_cells = external.import_velocity(
    files.source,
    block=block,
    obs=store.load_annotations(files.prepared).obs,
    where=f"{wildcards.method}, dataset {wildcards.dataset!r}, {files.source}",
    key=f"methods.{wildcards.method}",
    **snakemake.params.options,
)
methods.require_some(
    fit.genes["velocity_genes"], fit.genes, method=wildcards.method, advice="Give a result of more genes."
)
store.save_fit(snakemake.output[0], fit, block.names, of_cells=of_cells, places={})
