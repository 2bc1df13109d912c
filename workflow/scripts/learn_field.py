import numpy as np
from veloshard import fields, projection, runtime, store, transition
from veloshard.vectorfield import sparsevfc

runtime.start(snakemake)
files, told = snakemake.input, snakemake.params.options
options = {key: value for key, value in told.items() if key != "random_state"}
graph = store.load_arrays(files.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
places = fields.load_places(files.places, snakemake.wildcards.space)
learned = sparsevfc.learn(
    places,
    projection.displacements(walk, places),
    rng=np.random.default_rng(told["random_state"]),
    n_threads=snakemake.threads,
    **options,
)
store.save_arrays(snakemake.output[0], fields.field_arrays(learned), **told)
