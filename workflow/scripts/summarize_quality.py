from veloshard import runtime
from veloshard.io.prepared import load_annotations
from veloshard.io.text_files import load_json, save_json
from veloshard.preprocessing.quality import summarize_quality

runtime.start(snakemake)
summary = summarize_quality(
    load_annotations(snakemake.input.prepared),
    clusters=snakemake.params.clusters,
    **load_json(snakemake.input.checked),
    **snakemake.params.thresholds,
)
save_json(snakemake.output.quality, summary)
