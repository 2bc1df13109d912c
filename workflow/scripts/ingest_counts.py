from pathlib import Path

from veloshard import ingest, runtime, store

runtime.start(snakemake)
# by these the next run sees whether the source is still the same
seen = [[Path(name).stat().st_size, Path(name).stat().st_mtime_ns] for name in snakemake.params.files]
sha256 = snakemake.params.content
counts = ingest.ingest(
    snakemake.params.source, dataset=snakemake.wildcards.dataset, sha256=sha256, **snakemake.params.options
)
counts.write_h5ad(snakemake.output.counts)
sizes = store.sizes(counts)
if sha256:
    sizes["source"] = {"files": seen, "sha256": sha256}
store.save_json(snakemake.output.sizes, sizes)
