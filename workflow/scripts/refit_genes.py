from functools import partial

from veloshard import runtime
from veloshard.io.fits import load_differential_kinetics, save_refit
from veloshard.io.prepared import load_annotations, load_gene_block
from veloshard.kinetics import methods
from veloshard.kinetics.differential_kinetics import drop_genes_without_common_cells, refit
from veloshard.labels import cluster_codes

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = load_gene_block(files.prepared)
_, codes = cluster_codes(load_annotations(files.prepared).obs, params.clusters)
_, _, differs = load_differential_kinetics(files.kinetics)
differs = drop_genes_without_common_cells(differs, codes)
save_refit(
    snakemake.output.refit,
    files.fit,
    refit(block, differs, codes, **params.options),
    genes=differs.any(axis=1),
    select=partial(methods.select, **params.options),
)
