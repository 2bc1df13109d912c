from veloshard import comparison, runtime

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
of_methods = zip(*(files[name] for name in comparison.Files._fields), strict=True)
tables = comparison.compare(
    {name: comparison.Files(*paths) for name, paths in zip(params.methods, of_methods, strict=True)},
    prepared=files.prepared,
    embedding=files.embedding,
    truth=files.truth,
    clusters=params.clusters,
    root=params.root,
)
for name, table in tables.items():
    table.to_csv(snakemake.output[name], index=False)
