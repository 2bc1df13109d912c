import anndata
from veloshard import controls, runtime, selection, store

runtime.start(snakemake)
params = snakemake.params
prepared = anndata.read_h5ad(snakemake.input.prepared)
sample = controls.take_sample(prepared, max_cells=params.max_cells, random_state=params.random_state)
counts = store.load_counts(snakemake.input.counts, sample.obs_names)
found = controls.run_controls(
    selection.without_excluded(counts, dataset=snakemake.wildcards.dataset, **params.genes),
    sample,
    groups=controls.groups_of(sample, params.clusters, random_state=params.random_state),
    method=params.method,
    sqrt_transform=params.sqrt_transform,
    random_state=params.random_state,
)
store.save_json(snakemake.output[0], found)
