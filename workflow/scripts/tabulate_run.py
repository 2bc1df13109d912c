from pathlib import Path

from veloshard import runtime
from veloshard.report import html_tables, provenance

runtime.start(snakemake)
tables = provenance.run_tables(
    **dict(snakemake.input.items()), benchmarks=snakemake.params.benchmarks, rules=snakemake.params.rules
)
page = html_tables.html_page("Run", provenance.EXPLANATION, tables)
Path(snakemake.output.page).write_text(page, encoding="utf-8")
