from veloshard import confidence, runtime, store

runtime.start(snakemake)
velocity, _ = store.load_velocity(snakemake.input.fit)
distances = store.load_prepared(snakemake.input.prepared).distances
scores = confidence.confidence_and_length(velocity, distances)
store.save_arrays(snakemake.output[0], {"velocity_confidence": scores.confidence, "velocity_length": scores.length})
