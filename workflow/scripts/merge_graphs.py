from veloshard import graph, runtime, store

runtime.start(snakemake)
merged = store.merge_graph_shards(snakemake.input.shards)
store.save_arrays(snakemake.output[0], {"graph": merged, "self_transition": graph.self_transitions(merged)})
