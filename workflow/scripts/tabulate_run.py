from pathlib import Path

from veloshard import pages, provenance, runtime

runtime.start(snakemake)
tables = provenance.run_tables(**dict(snakemake.input.items()), benchmarks=snakemake.params.benchmarks)
page = pages.table_page("Run", provenance.EXPLANATION, tables)
Path(snakemake.output[0]).write_text(page, encoding="utf-8")
