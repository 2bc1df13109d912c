import anndata
from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.preprocessing.embedding import compute_embedding

runtime.start(snakemake)
name, coordinates = compute_embedding(anndata.read_h5ad(snakemake.input.prepared), **snakemake.params.options)
save_arrays(snakemake.output.embedding, {name: coordinates})
