from veloshard import runtime
from veloshard.io.prepared import load_annotations
from veloshard.preprocessing.validation import check_vector_field_options

runtime.start(snakemake)
prepared = load_annotations(snakemake.input.prepared)
dataset = snakemake.wildcards.dataset
check_vector_field_options(
    prepared,
    dataset=dataset,
    key=f"datasets.{dataset}.vector_field",
    clusters_option=f"datasets.{dataset}.clusters",
    **snakemake.params.options,
)
