from veloshard import runtime
from veloshard.io.fits import save_fit
from veloshard.io.model_io import as_fit, load_model_output
from veloshard.io.prepared import load_gene_block, load_prepared
from veloshard.kinetics import methods
from veloshard.kinetics.units import warn_about_scaling

runtime.start(snakemake)
prepared = load_prepared(snakemake.input.prepared)
modeled = load_model_output(snakemake.input.model)
fit = as_fit(modeled, cells=prepared.cells, genes=prepared.genes)
methods.require_velocity_genes(
    fit.genes["velocity_genes"], fit.genes, method=snakemake.wildcards.method, advice="The model's log says more."
)
warn_about_scaling(
    fit.layers["velocity"], load_gene_block(snakemake.input.prepared)[0], method=snakemake.wildcards.method
)
save_fit(
    snakemake.output.fit,
    fit,
    prepared.genes,
    cell_columns=modeled.cell_columns,
    embeddings=modeled.embeddings,
    versions=modeled.versions,
)
