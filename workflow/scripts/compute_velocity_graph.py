from veloshard import runtime
from veloshard.graph.velocity_graph import compute_velocity_graph, scale_to_range
from veloshard.io.fits import load_velocity
from veloshard.io.hdf5 import save_arrays
from veloshard.io.prepared import load_prepared, shard_bounds
from veloshard.preprocessing.moments import load_moments

runtime.start(snakemake)
prepared = load_prepared(snakemake.input.prepared)
first, stop = shard_bounds(snakemake.wildcards.cell_shard, len(prepared.cells))
velocity, velocity_genes = load_velocity(snakemake.input.fit, slice(first, stop))
moments = load_moments(snakemake.input.prepared, velocity_genes)
if snakemake.params.scale_genes:
    moments, velocity = scale_to_range(moments, velocity)
rows = compute_velocity_graph(
    moments,
    velocity,
    prepared.distances,
    first_cell=first,
    sqrt_transform=snakemake.params.sqrt_transform,
)
save_arrays(snakemake.output.shard, {"graph": rows}, first_cell=first)
