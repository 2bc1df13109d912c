from veloshard import runtime
from veloshard.evaluation.comparison import compare_methods

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
tables = compare_methods(
    dict(zip(params.methods, files.fit, strict=True)),
    dict(zip(params.methods, files.pseudotime, strict=True)),
    prepared=files.prepared,
    truth=files.truth,
)
for name, table in tables.items():
    table.to_csv(snakemake.output[name], index=False)
