from veloshard import runtime, store, trust

runtime.start(snakemake)
names = snakemake.wildcards
trust.require(store.load_json(snakemake.input[0]), snakemake.params.least, where=f"{names.dataset}, {names.method}")
