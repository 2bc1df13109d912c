from veloshard import plotting, runtime
from veloshard.evaluation.comparison import load_comparison

runtime.start(snakemake)
style = plotting.Style(**snakemake.params.style)
draw = plotting.load(snakemake.wildcards.figure, group="comparison")
files = {name: snakemake.input[name] for name in ("pairs", "cells", "embedding")}
figure = draw(load_comparison(**files, dataset=snakemake.wildcards.dataset), style=style)
for path in snakemake.output:
    plotting.save(figure, path, style.dpi)
