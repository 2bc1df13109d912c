import anndata
from veloshard import runtime
from veloshard.io.prepared import dataset_sizes, save_prepared
from veloshard.io.text_files import save_json
from veloshard.preprocessing.prepare import prepare_data

runtime.start(snakemake)
counts = anndata.read_h5ad(snakemake.input.counts)
dataset = snakemake.wildcards.dataset
prepared = prepare_data(counts, dataset=dataset, key=f"datasets.{dataset}", **snakemake.params.options)
save_prepared(snakemake.output.prepared, prepared)
save_json(snakemake.output.sizes, dataset_sizes(prepared))
