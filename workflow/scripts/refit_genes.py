from functools import partial

from veloshard import differential_kinetics, methods, runtime, selection, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = store.load_block(files.prepared)
_, codes = selection.cluster_codes(store.load_annotations(files.prepared).obs, params.clusters)
_, _, differs = store.load_kinetics(files.kinetics)
differs = differential_kinetics.with_common_cells(differs, codes)
store.save_replaced(
    snakemake.output[0],
    files.fit,
    differential_kinetics.refit(block, differs, codes, **params.options),
    genes=differs.any(axis=1),
    select=partial(methods.select, **params.options),
)
