from veloshard import fields, runtime, store

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=params.clusters)
name = snakemake.wildcards.perturbation
found, genes = fields.perturb(dataset, fields.load_field(files.field)[0], params.changes, name=name)
store.save_arrays(snakemake.output.perturbed, found)
genes.to_csv(snakemake.output.genes, index=False)
