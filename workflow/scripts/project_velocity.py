from veloshard import projection, runtime, store, transition

runtime.start(snakemake)
graph = store.load_arrays(snakemake.input.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
arrows = projection.project(walk, store.load_prepared(snakemake.input.prepared).embedding)
store.save_arrays(snakemake.output[0], {"velocity": arrows})
