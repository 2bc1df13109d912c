import numpy as np
from veloshard import fields, runtime, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=params.clusters)
(field, _), (plane, _) = fields.load_field(files.field), fields.load_field(files.plane)
found, points = fields.portrait(dataset, field, plane, rng=np.random.default_rng(params.random_state))
store.save_arrays(snakemake.output.topography, found)
points.to_csv(snakemake.output.points, index=False)
