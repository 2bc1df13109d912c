from veloshard import plotting, runtime
from veloshard.io.results import open_result

runtime.start(snakemake)
style = plotting.Style(**snakemake.params.style)
with open_result(snakemake.input.result) as result:
    draw = plotting.load(snakemake.wildcards.figure)
    figure = draw(result, style=style, **snakemake.params.options)
for path in snakemake.output:
    plotting.save(figure, path, style.dpi)
