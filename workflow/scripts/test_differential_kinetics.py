from veloshard import runtime
from veloshard.io.fits import load_fit_genes, save_differential_kinetics
from veloshard.io.prepared import load_annotations, load_gene_block
from veloshard.io.text_files import save_table
from veloshard.kinetics.differential_kinetics import find_differential_kinetics
from veloshard.labels import cluster_codes

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = load_gene_block(files.prepared)
names, codes = cluster_codes(load_annotations(files.prepared).obs, params.clusters)
tested = find_differential_kinetics(block, load_fit_genes(files.fit), codes, names, max_q=params.max_q)
save_table(snakemake.output.table, tested.pairs)
save_differential_kinetics(snakemake.output.kinetics, tested)
