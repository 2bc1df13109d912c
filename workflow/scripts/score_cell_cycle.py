from veloshard import cell_cycle, runtime, selection, store

runtime.start(snakemake)
cells = store.load_prepared(snakemake.input.prepared).cells
counts = selection.without_excluded(
    store.load_counts(snakemake.input.counts, cells), dataset=snakemake.wildcards.dataset, **snakemake.params.genes
)
scores = cell_cycle.score_cell_cycle(counts, cells, random_state=snakemake.params.random_state)
store.save_arrays(snakemake.output[0], scores)
