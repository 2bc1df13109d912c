from veloshard import fields, runtime, store

runtime.start(snakemake)
files, made = snakemake.input, snakemake.output
dataset = fields.load_dataset(files.prepared, files.embedding, clusters=snakemake.params.clusters)
(field, probability), (plane, _) = fields.load_field(files.field), fields.load_field(files.plane)
found = {**fields.geometry_of_cells(dataset, field, plane), "inlier_probability": probability}
store.save_arrays(made.geometry, found)
fields.cells_table(dataset, found).to_csv(made.cells, index=False)
fields.genes_table(dataset, field).to_csv(made.genes, index=False)
