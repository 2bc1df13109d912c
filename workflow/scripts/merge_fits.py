from functools import partial

from veloshard import runtime
from veloshard.io.fits import merge_fit_shards
from veloshard.io.prepared import load_prepared
from veloshard.kinetics import methods

runtime.start(snakemake)
merge_fit_shards(
    snakemake.output.fit,
    snakemake.input.shards,
    prepared=load_prepared(snakemake.input.prepared),
    select=partial(methods.select, **snakemake.params.options),
)
