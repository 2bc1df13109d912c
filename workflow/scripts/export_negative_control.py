import anndata
from veloshard import runtime
from veloshard.errors import InputError
from veloshard.evaluation.negative_controls import draw_subsample, make_negative_control, permutation_groups
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.prepared import load_counts
from veloshard.preprocessing.gene_selection import drop_excluded_genes
from veloshard.preprocessing.model_input import save_model_input

runtime.start(snakemake)
files, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
prepared = anndata.read_h5ad(files.prepared)
subsample = draw_subsample(prepared, max_cells=params.max_cells, random_state=params.random_state)
control = snakemake.wildcards.control
try:
    data, raw = make_negative_control(
        drop_excluded_genes(
            load_counts(files.counts, subsample.obs_names),
            dataset=dataset,
            key=f"datasets.{dataset}.genes",
            **params.genes,
        ),
        subsample,
        control=control,
        groups=permutation_groups(subsample, params.clusters, random_state=params.random_state),
        random_state=params.random_state,
    )
except InputError as error:  # a control that cannot be made is a result, as in `run_negative_controls`
    save_arrays(snakemake.output.model_input, {}, control=control, reason=str(error))
else:
    data.uns["prepare"] = subsample.uns["prepare"]
    data.obs = subsample.obs
    (embedding,) = load_arrays(files.embedding).values()
    save_model_input(
        snakemake.output.model_input,
        data,
        raw,
        embedding=embedding[prepared.obs_names.isin(subsample.obs_names)],
        clusters=params.clusters,
        control=control,
    )
