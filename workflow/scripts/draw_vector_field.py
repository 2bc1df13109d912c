from veloshard import plotting, runtime
from veloshard.io.hdf5 import load_arrays
from veloshard.output.figure_data import open_figure_data

runtime.start(snakemake)
files, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
style = plotting.Style(**params.style)
data = open_figure_data(
    prepared=files.prepared,
    embedding=files.embedding,
    dataset=wildcards.dataset,
    method=wildcards.method,
    clusters=params.clusters,
)
draw = plotting.load(wildcards.figure.partition("--")[0], group="vector_field")
figure = draw(data, load_arrays(files.analysis), style=style)
for path in snakemake.output:
    plotting.save(figure, path, style.dpi)
