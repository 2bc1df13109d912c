from veloshard import runtime
from veloshard.analysis.pseudotime import compute_pseudotimes, root_sensitivity
from veloshard.io.fits import load_gene_times
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.prepared import load_annotations, load_prepared
from veloshard.io.text_files import save_table
from veloshard.labels import cluster_codes, in_cluster

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
prepared = load_prepared(files.prepared)
obs, gene_times = load_annotations(files.prepared).obs, load_gene_times(files.fit)
graphs = {"graph": load_arrays(files.graph)["graph"], "connectivities": prepared.connectivities}
pseudotimes = compute_pseudotimes(
    **graphs,
    distances=prepared.distances,
    in_root_cluster=in_cluster(obs, params.clusters, params.root),
    **gene_times,
)
save_arrays(snakemake.output.pseudotime, pseudotimes)
names, codes = cluster_codes(obs, params.clusters)
correlations = root_sensitivity(pseudotimes, **graphs, names=names, codes=codes, **gene_times)
save_table(snakemake.output.roots, {"root": list(correlations), "spearman": list(correlations.values())})
