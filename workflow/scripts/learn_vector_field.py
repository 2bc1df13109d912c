import numpy as np
from veloshard import runtime
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import unscaled_velocity_embedding
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.vectorfield.dataset import load_coordinates, vector_field_arrays
from veloshard.vectorfield.sparsevfc import learn_vector_field

runtime.start(snakemake)
files, settings = snakemake.input, snakemake.params.options
options = {key: value for key, value in settings.items() if key != "random_state"}
graph = load_arrays(files.graph)
transition_matrix = compute_transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
coordinates = load_coordinates(files.coordinates, snakemake.wildcards.basis)
learned = learn_vector_field(
    coordinates,
    unscaled_velocity_embedding(transition_matrix, coordinates),
    rng=np.random.default_rng(settings["random_state"]),
    n_threads=snakemake.threads,
    **options,
)
save_arrays(snakemake.output.vector_field, vector_field_arrays(learned), **settings)
