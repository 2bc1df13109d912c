from veloshard import projection, runtime, store, transition

runtime.start(snakemake)
graph = store.load_arrays(snakemake.input.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
(places,) = store.load_arrays(snakemake.input.embedding).values()
store.save_arrays(snakemake.output[0], {"arrows": projection.project(walk, places)})
