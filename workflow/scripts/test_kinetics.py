from veloshard import differential_kinetics, runtime, selection, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = store.load_block(files.prepared)
names, codes = selection.cluster_codes(store.load_annotations(files.prepared).obs, params.clusters)
tested = differential_kinetics.differing_clusters(
    block, store.load_fit_genes(files.fit), codes, names, max_q=params.max_q
)
store.save_table(snakemake.output.table, tested.pairs)
store.save_kinetics(snakemake.output.kinetics, tested)
