from veloshard import fields, runtime, store

runtime.start(snakemake)
files, params, made = snakemake.input, snakemake.params, snakemake.output
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=params.clusters)
found, table, genes = fields.find_paths(dataset, fields.load_field(files.field)[0], params.pairs)
store.save_arrays(made.paths, found)
table.to_csv(made.table, index=False)
genes.to_csv(made.genes, index=False)
