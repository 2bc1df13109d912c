from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.perturbation import predict_perturbation
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
key = f"datasets.{wildcards.dataset}.vector_field.perturbations.{wildcards.perturbation}"
dataset = load_dataset(files.prepared, files.embedding, clusters=params.clusters)
field, _ = load_vector_field(files.pca_field)
arrays, genes = predict_perturbation(dataset, field, params.changes, name=wildcards.perturbation, key=key)
save_arrays(snakemake.output.perturbed, arrays)
genes.to_csv(snakemake.output.genes, index=False)
