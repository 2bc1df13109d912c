import anndata
from veloshard import preprocess, runtime, store

runtime.start(snakemake)
name, places = preprocess.embed(anndata.read_h5ad(snakemake.input.prepared), **snakemake.params.options)
store.save_arrays(snakemake.output[0], {name: places})
