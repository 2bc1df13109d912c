from veloshard import methods, runtime, store

runtime.start(snakemake)
item = snakemake.wildcards.genes
block, fingerprint = store.load_block(snakemake.input.prepared, item)
fit = methods.run(block, **snakemake.params.options)
store.save_shard(snakemake.output[0], fit, block.names, item=item, fingerprint=fingerprint)
