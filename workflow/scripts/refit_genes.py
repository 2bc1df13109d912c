from veloshard import differential_kinetics, runtime, selection, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = store.load_block(files.prepared)
labels = selection.as_labels(store.load_annotations(files.prepared).obs[params.clusters]).cat
codes = labels.codes.to_numpy().astype(int)
differs = store.load_arrays(files.kinetics)["differs"]
refitted = differential_kinetics.refit(block, differs, codes, **params.options)
store.save_replaced(snakemake.output[0], files.fit, refitted, genes=differs.any(axis=1))
