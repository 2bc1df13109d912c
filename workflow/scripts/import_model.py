from veloshard import exchange, methods, runtime, store, units

runtime.start(snakemake)
prepared = store.load_prepared(snakemake.input.prepared)
modelled = exchange.load_modelled(snakemake.input.model)
fit = exchange.as_fit(modelled, cells=prepared.cells, genes=prepared.genes)
methods.require_some(
    fit.genes["velocity_genes"], fit.genes, method=snakemake.wildcards.method, advice="The model's log says more."
)
units.warn(fit.layers["velocity"], store.load_block(snakemake.input.prepared)[0], method=snakemake.wildcards.method)
store.save_fit(
    snakemake.output[0],
    fit,
    prepared.genes,
    of_cells=modelled.of_cells,
    places=modelled.places,
    versions=modelled.versions,
)
