from pathlib import Path

from veloshard import runtime
from veloshard.report import html_tables, result_tables

runtime.start(snakemake)
name = f"{snakemake.wildcards.dataset}, {snakemake.wildcards.method}"
explanation, tables = result_tables.result_tables(**dict(snakemake.input.items()))
Path(snakemake.output.page).write_text(html_tables.html_page(name, explanation, tables), encoding="utf-8")
