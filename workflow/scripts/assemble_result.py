import anndata
from veloshard import assemble, ranking, runtime, store

runtime.start(snakemake)
files = snakemake.input
genes = store.load_fit_genes(files.fit)
of_cells, more_places = store.load_fit_cells(files.fit)
result = assemble.velocity_result(
    anndata.read_h5ad(files.prepared),
    genes={column: values for column, values in genes.items() if column != "name"},
    cells={
        **{f"model_{name}": values for name, values in of_cells.items()},
        **(store.load_arrays(files.uncertainty) if files.uncertainty else {}),
        **store.load_arrays(files.confidence),
        **store.load_arrays(files.time),
    },
    more_places=more_places,
    model_versions=store.load_fit_versions(files.fit),
    places=store.load_arrays(files.embedding),
    arrows=store.load_arrays(files.projection)["arrows"],
    cell_cycle=store.load_arrays(files.cell_cycle),
    kinetics=store.load_kinetics(files.kinetics) if files.kinetics else None,
    ranked=ranking.load_table(files.ranking),
    abstracted=store.load_arrays(files.paga),
    warnings=store.load_json(files.quality)["warnings"],
    clusters=snakemake.params.clusters,
    options=snakemake.params.options,
    **store.load_arrays(files.graph),
)
result.write_h5ad(snakemake.output.result)
store.add_layers(snakemake.output.result, files.prepared, files.fit)
result.var.to_csv(snakemake.output.genes, index_label="gene")
result.obs.to_csv(snakemake.output.cells, index_label="cell")
