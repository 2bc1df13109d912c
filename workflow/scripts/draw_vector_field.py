from veloshard import plotting, runtime
from veloshard.io.hdf5 import load_arrays
from veloshard.io.results import open_result

runtime.start(snakemake)
style = plotting.Style(**snakemake.params.style)
draw = plotting.load(snakemake.wildcards.figure.partition("--")[0], group="vector_field")
with open_result(snakemake.input.result) as result:
    figure = draw(result, load_arrays(snakemake.input.analysis), style=style)
for path in snakemake.output:
    plotting.save(figure, path, style.dpi)
