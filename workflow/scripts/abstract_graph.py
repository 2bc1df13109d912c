from veloshard import paga, runtime, selection, store

runtime.start(snakemake)
files = snakemake.input
times = store.load_arrays(files.time)
labels, codes = selection.cluster_codes(store.load_annotations(files.prepared).obs, snakemake.params.clusters)
abstracted = paga.abstract_graph(
    store.load_arrays(files.graph)["graph"],
    store.load_prepared(files.prepared).distances,
    codes,
    len(labels),
    pseudotime=times["velocity_pseudotime"],
    root_cells=times["root_cells"],
    end_points=times["end_points"],
)
store.save_arrays(snakemake.output[0], abstracted._asdict())
