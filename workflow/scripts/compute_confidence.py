from veloshard import runtime
from veloshard.graph.confidence import compute_confidence
from veloshard.graph.velocity_graph import scale_to_range
from veloshard.io.fits import load_velocity
from veloshard.io.hdf5 import save_arrays
from veloshard.io.prepared import load_prepared
from veloshard.preprocessing.moments import load_moments

runtime.start(snakemake)
velocity, velocity_genes = load_velocity(snakemake.input.fit)
if snakemake.params.scale_genes:
    _, velocity = scale_to_range(load_moments(snakemake.input.prepared, velocity_genes), velocity)
distances = load_prepared(snakemake.input.prepared).distances
confidence, length = compute_confidence(velocity, distances)
save_arrays(snakemake.output.confidence, {"velocity_confidence": confidence, "velocity_length": length})
