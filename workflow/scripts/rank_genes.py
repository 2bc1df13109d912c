from veloshard import ranking, runtime

runtime.start(snakemake)
files = snakemake.input
ranked = ranking.rank_genes(files.prepared, files.fit, clusters=snakemake.params.clusters)
ranked.to_csv(snakemake.output[0], index=False)
