from veloshard import confidence, graph, runtime, store

runtime.start(snakemake)
velocity, velocity_genes = store.load_velocity(snakemake.input.fit)
if snakemake.params.scale_genes:
    _, velocity = graph.scaled_to_range(store.load_moments(snakemake.input.prepared, velocity_genes), velocity)
distances = store.load_prepared(snakemake.input.prepared).distances
scores = confidence.confidence_and_length(velocity, distances)
store.save_arrays(snakemake.output[0], {"velocity_confidence": scores.confidence, "velocity_length": scores.length})
