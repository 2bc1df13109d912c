from veloshard import plotting, runtime
from veloshard.output.figure_data import open_figure_data

runtime.start(snakemake)
params, wildcards = snakemake.params, snakemake.wildcards
style = plotting.Style(**params.style)
files = {name: path for name, path in snakemake.input.items() if name not in ("sizes", "checked")}
data = open_figure_data(**files, dataset=wildcards.dataset, method=wildcards.method, clusters=params.clusters)
figure = plotting.load(wildcards.figure)(data, style=style, **params.options)
for path in snakemake.output:
    plotting.save(figure, path, style.dpi)
