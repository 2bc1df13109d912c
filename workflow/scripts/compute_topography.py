import numpy as np
from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.topography import compute_topography
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
dataset = load_dataset(files.prepared, files.embedding, clusters=params.clusters)
(pca_field, _), (embedding_field, _) = load_vector_field(files.pca_field), load_vector_field(files.embedding_field)
rng = np.random.default_rng(params.random_state)
arrays, fixed_points = compute_topography(dataset, pca_field, embedding_field, rng=rng)
save_arrays(snakemake.output.topography, arrays)
fixed_points.to_csv(snakemake.output.fixed_points, index=False)
