import anndata
from veloshard import runtime
from veloshard.evaluation.negative_controls import draw_subsample, permutation_groups
from veloshard.evaluation.refits import run_negative_controls
from veloshard.io.fits import load_fit
from veloshard.io.model_io import as_fit, load_failure_reason, load_model_output
from veloshard.io.prepared import load_counts
from veloshard.io.text_files import save_json
from veloshard.preprocessing.gene_selection import drop_excluded_genes

runtime.start(snakemake)
files, params, dataset = snakemake.input, snakemake.params, snakemake.wildcards.dataset
prepared = anndata.read_h5ad(files.prepared)
subsample = draw_subsample(prepared, max_cells=params.max_cells, random_state=params.random_state)
model_fits = None
if files.fit:
    model_fits = {"observed": load_fit(files.fit, cells=prepared.obs_names.isin(subsample.obs_names))}
    for name, path in zip(params.controls, files.model_outputs, strict=True):
        model_fits[name] = load_failure_reason(path) or as_fit(
            load_model_output(path), cells=subsample.obs_names, genes=subsample.var_names
        )
scores = run_negative_controls(
    drop_excluded_genes(
        load_counts(files.counts, subsample.obs_names),
        dataset=dataset,
        key=f"datasets.{dataset}.genes",
        **params.genes,
    ),
    subsample,
    groups=permutation_groups(subsample, params.clusters, random_state=params.random_state),
    method=params.method,
    references=params.references,
    sqrt_transform=params.sqrt_transform,
    scale_genes=params.scale_genes,
    random_state=params.random_state,
    model_fits=model_fits,
    key=params.controls_option,
)
save_json(snakemake.output.scores, scores)
