from veloshard import graph, runtime, store

runtime.start(snakemake)
prepared = store.load_prepared(snakemake.input.prepared)
first, stop = store.shard_bounds(snakemake.wildcards.cells, len(prepared.cells))
velocity, velocity_genes = store.load_velocity(snakemake.input.fit, slice(first, stop))
moments = store.load_moments(snakemake.input.prepared, velocity_genes)
if snakemake.params.scale_genes:
    moments, velocity = graph.scaled_to_range(moments, velocity)
block = graph.velocity_graph(
    moments,
    velocity,
    prepared.distances,
    first_cell=first,
    sqrt_transform=snakemake.params.sqrt_transform,
)
store.save_arrays(snakemake.output[0], {"graph": block}, first_cell=first)
