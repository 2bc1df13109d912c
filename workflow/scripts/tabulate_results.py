from pathlib import Path

from veloshard import pages, runtime, tables

runtime.start(snakemake)
name = f"{snakemake.wildcards.dataset}, {snakemake.wildcards.method}"
explanation, found = tables.result_tables(**dict(snakemake.input.items()))
Path(snakemake.output[0]).write_text(pages.table_page(name, explanation, found), encoding="utf-8")
