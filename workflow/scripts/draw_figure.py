from veloshard import figures, runtime, store

runtime.start(snakemake)
style = figures.Style(**snakemake.params.style)
with store.open_result(snakemake.input.result) as result:
    draw = figures.load(snakemake.wildcards.figure)
    figure = draw(result, style=style, **snakemake.params.options)
for path in snakemake.output:
    figures.save(figure, path, style.dpi)
