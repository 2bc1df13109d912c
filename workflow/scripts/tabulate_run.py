from pathlib import Path

from veloshard import provenance, runtime, store

runtime.start(snakemake)
quality = {Path(path).parent.name: store.load_json(path) for path in snakemake.input.quality}
page = provenance.page(snakemake.input.results, quality, Path(snakemake.params.benchmarks))
Path(snakemake.output[0]).write_text(page, encoding="utf-8")
