from veloshard import runtime
from veloshard.io.fits import save_fit_shard
from veloshard.io.prepared import load_gene_block
from veloshard.kinetics import methods

runtime.start(snakemake)
shard = snakemake.wildcards.gene_shard
block, fingerprint = load_gene_block(snakemake.input.prepared, shard)
fit = methods.run(block, **snakemake.params.options)
save_fit_shard(snakemake.output.shard, fit, block.names, shard=shard, fingerprint=fingerprint)
