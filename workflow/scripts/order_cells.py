from veloshard import runtime, selection, store, time

runtime.start(snakemake)
prepared = store.load_prepared(snakemake.input.prepared)
orders = time.order_cells(
    store.load_arrays(snakemake.input.graph)["graph"],
    prepared.distances,
    prepared.connectivities,
    in_root_cluster=selection.in_cluster(
        store.load_annotations(snakemake.input.prepared).obs, snakemake.params.clusters, snakemake.params.root
    ),
    **store.load_times(snakemake.input.fit),
)
store.save_arrays(snakemake.output[0], orders)
