from veloshard import runtime
from veloshard.analysis.rank_genes import rank_genes

runtime.start(snakemake)
files = snakemake.input
ranking = rank_genes(files.prepared, files.fit, clusters=snakemake.params.clusters)
ranking.to_csv(snakemake.output.ranking, index=False)
