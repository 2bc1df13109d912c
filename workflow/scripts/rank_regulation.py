from veloshard import fields, runtime, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=params.clusters)
found, table = fields.regulation(dataset, fields.load_field(files.field)[0], params.genes)
store.save_arrays(snakemake.output.regulation, found)
table.to_csv(snakemake.output.table, index=False)
