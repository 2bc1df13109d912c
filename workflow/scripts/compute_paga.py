from veloshard import runtime
from veloshard.analysis.paga import compute_paga
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.prepared import load_annotations, load_prepared
from veloshard.labels import cluster_codes

runtime.start(snakemake)
files = snakemake.input
times = load_arrays(files.pseudotime)
labels, codes = cluster_codes(load_annotations(files.prepared).obs, snakemake.params.clusters)
paga = compute_paga(
    load_arrays(files.graph)["graph"],
    load_prepared(files.prepared).distances,
    codes,
    len(labels),
    pseudotime=times["velocity_pseudotime"],
    root_cells=times["root_cells"],
    end_points=times["end_points"],
)
save_arrays(snakemake.output.paga, paga._asdict())
