from veloshard import runtime
from veloshard.io.fits import save_fit
from veloshard.io.prepared import load_annotations, load_gene_block
from veloshard.kinetics import methods
from veloshard.kinetics.precomputed import import_precomputed

runtime.start(snakemake)
files, wildcards = snakemake.input, snakemake.wildcards
block, _ = load_gene_block(files.prepared)
fit, cell_columns = import_precomputed(
    files.source,
    block=block,
    obs=load_annotations(files.prepared).obs,
    where=f"{wildcards.method}, dataset {wildcards.dataset!r}, {files.source}",
    key=f"methods.{wildcards.method}",
    **snakemake.params.options,
)
methods.require_velocity_genes(
    fit.genes["velocity_genes"], fit.genes, method=wildcards.method, advice="Give a result of more genes."
)
save_fit(snakemake.output.fit, fit, block.names, cell_columns=cell_columns, embeddings={})
