import anndata
from veloshard import runtime
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_counts
from veloshard.preprocessing.model_input import save_model_input

runtime.start(snakemake)
files = snakemake.input
prepared = anndata.read_h5ad(files.prepared)
(embedding,) = load_arrays(files.embedding).values()
save_model_input(
    snakemake.output.model_input,
    prepared,
    load_counts(files.counts, prepared.obs_names),
    embedding=embedding,
    clusters=snakemake.params.clusters,
)
