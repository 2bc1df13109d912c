from veloshard import runtime
from veloshard.evaluation.comparison import ResultFiles, summarize_methods

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
paths_of_methods = zip(*(files[name] for name in ResultFiles._fields), strict=True)
table = summarize_methods(
    {name: ResultFiles(*paths) for name, paths in zip(params.methods, paths_of_methods, strict=True)},
    prepared=files.prepared,
    embedding=files.embedding,
    cells=files.cells,
    clusters=params.clusters,
    root=params.root,
)
table.to_csv(snakemake.output.methods, index=False)
