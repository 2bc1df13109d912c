import numpy as np
from veloshard import fields, projection, runtime, store, transition
from veloshard.vectorfield import sparsevfc

runtime.start(snakemake)
files, options = snakemake.input, dict(snakemake.params.options)
graph = store.load_arrays(files.graph)
walk = transition.transition_matrix(graph["graph"], graph["self_transition"], use_negative_cosines=True)
places = fields.load_places(files.places, snakemake.wildcards.space)
learned = sparsevfc.learn(
    places,
    projection.displacements(walk, places),
    rng=np.random.default_rng(options.pop("random_state")),
    n_threads=snakemake.threads,
    **options,
)
store.save_arrays(snakemake.output[0], fields.field_arrays(learned))
