from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.regulation import rank_regulators
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
key = f"datasets.{snakemake.wildcards.dataset}.vector_field.regulation"
dataset = load_dataset(files.prepared, files.embedding, clusters=params.clusters)
arrays, table = rank_regulators(dataset, load_vector_field(files.pca_field)[0], params.genes, key=key)
save_arrays(snakemake.output.regulation, arrays)
table.to_csv(snakemake.output.table, index=False)
