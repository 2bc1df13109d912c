from functools import partial

from veloshard import methods, runtime, store

runtime.start(snakemake)
store.merge_shards(
    snakemake.output[0],
    snakemake.input.shards,
    prepared=store.load_prepared(snakemake.input.prepared),
    select=partial(methods.select, **snakemake.params.options),
)
