import numpy as np
from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.trajectories import integrate_trajectories
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
key = f"datasets.{snakemake.wildcards.dataset}.vector_field.trajectories.clusters"
dataset = load_dataset(files.prepared, files.embedding, clusters=params.clusters)
rng = np.random.default_rng(params.random_state)
arrays, table = integrate_trajectories(
    dataset, load_vector_field(files.pca_field)[0], rng=rng, key=key, **params.options
)
save_arrays(snakemake.output.trajectories, arrays)
table.to_csv(snakemake.output.table, index=False)
