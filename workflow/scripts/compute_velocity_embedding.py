from veloshard import runtime
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import compute_velocity_embedding
from veloshard.io.hdf5 import load_arrays, save_arrays

runtime.start(snakemake)
graph = load_arrays(snakemake.input.graph)
transition_matrix = compute_transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
(embedding,) = load_arrays(snakemake.input.embedding).values()
save_arrays(
    snakemake.output.velocity_embedding,
    {"velocity_embedding": compute_velocity_embedding(transition_matrix, embedding)},
)
