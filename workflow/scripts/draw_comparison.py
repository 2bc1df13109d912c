from veloshard import comparison, figures, runtime

runtime.start(snakemake)
style = figures.Style(**snakemake.params.style)
draw = figures.load(snakemake.wildcards.figure, of="comparison")
files = {name: snakemake.input[name] for name in ("pairs", "cells", "embedding")}
figure = draw(comparison.load_compared(**files, dataset=snakemake.wildcards.dataset), style=style)
for path in snakemake.output:
    figures.save(figure, path, style.dpi)
