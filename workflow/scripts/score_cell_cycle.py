from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.io.prepared import load_counts, load_prepared
from veloshard.preprocessing.cell_cycle import score_cell_cycle
from veloshard.preprocessing.gene_selection import drop_excluded_genes

runtime.start(snakemake)
dataset = snakemake.wildcards.dataset
cells = load_prepared(snakemake.input.prepared).cells
counts = drop_excluded_genes(
    load_counts(snakemake.input.counts, cells),
    dataset=dataset,
    key=f"datasets.{dataset}.genes",
    **snakemake.params.genes,
)
scores = score_cell_cycle(counts, cells, random_state=snakemake.params.random_state)
save_arrays(snakemake.output.cell_cycle, scores)
