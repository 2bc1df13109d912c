from veloshard import runtime
from veloshard.simulation import simulate_counts

runtime.start(snakemake)
simulate_counts(**snakemake.params.options).write_h5ad(snakemake.output.counts)
