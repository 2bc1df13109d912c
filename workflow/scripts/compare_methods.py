from veloshard import runtime
from veloshard.evaluation.comparison import ResultFiles, compare_methods

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
paths_of_methods = zip(*(files[name] for name in ResultFiles._fields), strict=True)
tables = compare_methods(
    {name: ResultFiles(*paths) for name, paths in zip(params.methods, paths_of_methods, strict=True)},
    prepared=files.prepared,
    embedding=files.embedding,
    truth=files.truth,
    clusters=params.clusters,
    root=params.root,
)
for name, table in tables.items():
    table.to_csv(snakemake.output[name], index=False)
