import anndata
from veloshard import controls, exchange, runtime, selection, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
prepared = anndata.read_h5ad(files.prepared)
sample = controls.take_sample(prepared, max_cells=params.max_cells, random_state=params.random_state)
modelled = None
if files.fit:
    modelled = {"observed": store.load_fit(files.fit, cells=prepared.obs_names.isin(sample.obs_names))}
    for name, path in zip(params.modelled, files.modelled, strict=True):
        modelled[name] = exchange.load_reason(path) or exchange.as_fit(
            exchange.load_modelled(path), cells=sample.obs_names, genes=sample.var_names
        )
found = controls.run_controls(
    selection.without_excluded(
        store.load_counts(files.counts, sample.obs_names), dataset=snakemake.wildcards.dataset, **params.genes
    ),
    sample,
    groups=controls.groups_of(sample, params.clusters, random_state=params.random_state),
    method=params.method,
    sqrt_transform=params.sqrt_transform,
    scale_genes=params.scale_genes,
    random_state=params.random_state,
    modelled=modelled,
)
store.save_json(snakemake.output[0], found)
