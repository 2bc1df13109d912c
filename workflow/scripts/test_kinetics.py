import pandas as pd
from veloshard import differential_kinetics, runtime, selection, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
block, _ = store.load_block(files.prepared)
labels = selection.as_labels(store.load_annotations(files.prepared).obs[params.clusters]).cat
codes = labels.codes.to_numpy().astype(int)
tested = differential_kinetics.differing_clusters(
    block, store.load_fit_genes(files.fit), codes, labels.categories, max_q=params.max_q
)
pd.DataFrame(tested.pairs).to_csv(snakemake.output.table, index=False)
store.save_kinetics(snakemake.output.kinetics, tested)
