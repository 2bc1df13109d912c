import anndata
from veloshard import controls, exchange, runtime, selection, store
from veloshard.errors import InputError

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
prepared = anndata.read_h5ad(files.prepared)
sample = controls.take_sample(prepared, max_cells=params.max_cells, random_state=params.random_state)
control = snakemake.wildcards.control
try:
    data, raw = controls.make_control(
        selection.without_excluded(
            store.load_counts(files.counts, sample.obs_names), dataset=snakemake.wildcards.dataset, **params.genes
        ),
        sample,
        control=control,
        groups=controls.groups_of(sample, params.clusters, random_state=params.random_state),
        random_state=params.random_state,
    )
except InputError as error:  # what cannot be made is a finding, as in `run_controls`
    store.save_arrays(snakemake.output[0], {}, control=control, reason=str(error))
else:
    data.uns["prepare"] = sample.uns["prepare"]
    data.obs = sample.obs
    (embedding,) = store.load_arrays(files.embedding).values()
    exchange.save_cells(
        snakemake.output[0],
        data,
        raw,
        embedding=embedding[prepared.obs_names.isin(sample.obs_names)],
        clusters=params.clusters,
        control=control,
    )
