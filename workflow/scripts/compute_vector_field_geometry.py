from veloshard import runtime
from veloshard.io.hdf5 import save_arrays
from veloshard.vectorfield.analyses.geometry import compute_cell_geometry, tabulate_cells, tabulate_genes
from veloshard.vectorfield.dataset import load_dataset, load_vector_field

runtime.start(snakemake)
files, output = snakemake.input, snakemake.output
dataset = load_dataset(files.prepared, files.embedding, clusters=snakemake.params.clusters)
(pca_field, inlier_probability), (embedding_field, _) = (
    load_vector_field(files.pca_field),
    load_vector_field(files.embedding_field),
)
arrays = {**compute_cell_geometry(dataset, pca_field, embedding_field), "inlier_probability": inlier_probability}
save_arrays(output.geometry, arrays)
tabulate_cells(dataset, arrays).to_csv(output.cells, index=False)
tabulate_genes(dataset, pca_field).to_csv(output.genes, index=False)
