from veloshard import runtime
from veloshard.io.hdf5 import save_anndata
from veloshard.simulation import simulate_counts

runtime.start(snakemake)
save_anndata(snakemake.output.counts, simulate_counts(**snakemake.params.options))
