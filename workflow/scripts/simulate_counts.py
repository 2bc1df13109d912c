from veloshard import assemble, runtime

runtime.start(snakemake)
assemble.simulated_counts(**snakemake.params.options).write_h5ad(snakemake.output[0])
