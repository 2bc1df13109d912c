from veloshard import figures, runtime, store

runtime.start(snakemake)
style = figures.Style(**snakemake.params.style)
draw = figures.load(snakemake.wildcards.portrait.partition("--")[0], of="vector_field")
with store.open_result(snakemake.input.result) as result:
    figure = draw(result, store.load_arrays(snakemake.input.found), style=style)
for path in snakemake.output:
    figures.save(figure, path, style.dpi)
