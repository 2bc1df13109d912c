from veloshard import runtime
from veloshard.io.prepared import load_annotations
from veloshard.io.text_files import save_json
from veloshard.preprocessing.validation import check_options

runtime.start(snakemake)
counts = load_annotations(snakemake.input.counts)
dataset = snakemake.wildcards.dataset
warnings = check_options(counts, dataset=dataset, key=f"datasets.{dataset}", **snakemake.params.options)
save_json(snakemake.output.warnings, {"warnings": warnings})
