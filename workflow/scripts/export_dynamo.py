import anndata
from veloshard import runtime
from veloshard.io.fits import load_fit_genes
from veloshard.io.hdf5 import load_arrays, save_anndata
from veloshard.output.anndata_result import add_dense_layers
from veloshard.output.dynamo_export import LAYERS, as_dynamo_input

runtime.start(snakemake)
files = snakemake.input
result = as_dynamo_input(
    anndata.read_h5ad(files.prepared), genes=load_fit_genes(files.fit), embedding=load_arrays(files.embedding)
)
save_anndata(snakemake.output.dynamo, result)
# as in Dynamo's own files, genes without a fit have zeros
add_dense_layers(snakemake.output.dynamo, files.prepared, files.fit, names=LAYERS, missing=0)
