from pathlib import Path

from veloshard import provenance, runtime

runtime.start(snakemake)
page = provenance.page(snakemake.input.results, Path(snakemake.params.benchmarks))
Path(snakemake.output[0]).write_text(page, encoding="utf-8")
