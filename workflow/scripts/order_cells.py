from veloshard import runtime, selection, store, time

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
prepared = store.load_prepared(files.prepared)
obs, clocks = store.load_annotations(files.prepared).obs, store.load_times(files.fit)
graphs = {"graph": store.load_arrays(files.graph)["graph"], "connectivities": prepared.connectivities}
orders = time.order_cells(
    **graphs,
    distances=prepared.distances,
    in_root_cluster=selection.in_cluster(obs, params.clusters, params.root),
    **clocks,
)
store.save_arrays(snakemake.output.orders, orders)
names, codes = selection.cluster_codes(obs, params.clusters)
agreement = time.root_sensitivity(orders, **graphs, names=names, codes=codes, **clocks)
store.save_table(snakemake.output.roots, {"root": list(agreement), "spearman": list(agreement.values())})
