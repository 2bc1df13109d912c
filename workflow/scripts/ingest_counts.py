from pathlib import Path

from veloshard import ingest, runtime, store

runtime.start(snakemake)
source = Path(snakemake.input.source)
before = source.stat()
counts = ingest.ingest(source, dataset=snakemake.wildcards.dataset, **snakemake.params.options)
counts.write_h5ad(snakemake.output.counts)
sizes = store.sizes(counts)
if snakemake.params.content:
    # by these the next run sees whether the source is still the same
    sha256 = counts.uns["ingest"]["sha256"]
    sizes["source"] = {"size": before.st_size, "mtime_ns": before.st_mtime_ns, "sha256": sha256}
store.save_json(snakemake.output.sizes, sizes)
