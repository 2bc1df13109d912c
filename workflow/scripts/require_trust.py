from veloshard import runtime, store, trust

runtime.start(snakemake)
verdicts = {path: store.load_json(path) for path in snakemake.input.verdicts}
trust.require(verdicts, snakemake.params.least)
