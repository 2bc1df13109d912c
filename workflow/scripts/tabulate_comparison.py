from pathlib import Path

from veloshard import pages, provenance, runtime, tables

runtime.start(snakemake)
dataset, files = snakemake.wildcards.dataset, snakemake.input
costs = provenance.costs_of_methods(provenance.jobs_table(snakemake.params.benchmarks), dataset)
found = tables.comparison_tables(methods=files.methods, pairs=files.pairs, costs=costs)
page = pages.table_page(f"{dataset}, all methods", tables.COMPARISON, found)
Path(snakemake.output[0]).write_text(page, encoding="utf-8")
