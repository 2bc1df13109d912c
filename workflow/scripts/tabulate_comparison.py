from pathlib import Path

from veloshard import runtime
from veloshard.report import html_tables, provenance, result_tables

runtime.start(snakemake)
dataset, files = snakemake.wildcards.dataset, snakemake.input
costs = provenance.costs_of_methods(
    provenance.jobs_table(snakemake.params.benchmarks, rules=snakemake.params.rules), dataset
)
tables = result_tables.comparison_tables(methods=files.methods, pairs=files.pairs, costs=costs)
page = html_tables.html_page(f"{dataset}, all methods", result_tables.COMPARISON_EXPLANATION, tables)
Path(snakemake.output.page).write_text(page, encoding="utf-8")
