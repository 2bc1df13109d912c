import numpy as np
from veloshard import fields, runtime, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=params.clusters)
rng = np.random.default_rng(params.random_state)
found, table = fields.follow_cells(dataset, fields.load_field(files.field)[0], rng=rng, **params.options)
store.save_arrays(snakemake.output.trajectories, found)
table.to_csv(snakemake.output.table, index=False)
