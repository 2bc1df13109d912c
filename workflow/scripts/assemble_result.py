import anndata
from veloshard import runtime
from veloshard.io.fits import load_differential_kinetics, load_fit_cells, load_fit_genes, load_fit_versions
from veloshard.io.hdf5 import load_arrays, save_anndata
from veloshard.io.text_files import load_json
from veloshard.output.anndata_result import add_dense_layers, assemble_result
from veloshard.output.rankings import load_ranking

runtime.start(snakemake)
files = snakemake.input
genes = load_fit_genes(files.fit)
cell_columns, model_embeddings = load_fit_cells(files.fit)
result = assemble_result(
    anndata.read_h5ad(files.prepared),
    genes={column: values for column, values in genes.items() if column != "name"},
    cells={
        **{f"model_{name}": values for name, values in cell_columns.items()},
        **(load_arrays(files.uncertainty) if files.uncertainty else {}),
        **load_arrays(files.confidence),
        **load_arrays(files.pseudotime),
    },
    embedding=load_arrays(files.embedding),
    velocity_embedding=load_arrays(files.velocity_embedding)["velocity_embedding"],
    model_embeddings=model_embeddings,
    model_versions=load_fit_versions(files.fit),
    cell_cycle=load_arrays(files.cell_cycle),
    differential_kinetics=load_differential_kinetics(files.kinetics) if files.kinetics else None,
    ranking=load_ranking(files.ranking),
    paga=load_arrays(files.paga),
    warnings=load_json(files.quality)["warnings"],
    clusters=snakemake.params.clusters,
    options=snakemake.params.options,
    has_curves=snakemake.params.has_curves,
    **load_arrays(files.graph),
)
save_anndata(snakemake.output.result, result)
add_dense_layers(snakemake.output.result, files.prepared, files.fit)
result.var.to_csv(snakemake.output.genes, index_label="gene")
result.obs.to_csv(snakemake.output.cells, index_label="cell")
