from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.least_action_paths import find_least_action_paths
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, params, output = snakemake.input, snakemake.params, snakemake.output
key = f"datasets.{snakemake.wildcards.dataset}.vector_field.paths"
dataset = load_dataset(files.prepared, files.embedding, clusters=params.clusters)
arrays, table, genes = find_least_action_paths(dataset, load_vector_field(files.pca_field)[0], params.pairs, key=key)
save_arrays(output.paths, arrays)
table.to_csv(output.table, index=False)
genes.to_csv(output.genes, index=False)
