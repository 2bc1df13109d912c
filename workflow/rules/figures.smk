"""Draw the figures of a result.

Each figure is a job of its own and reads only the analyses that it shows. A failing analysis stops no other figure.
"""


rule draw_figure:
    input:
        unpack(get_figure_inputs),
        sizes="results/{dataset}/prepared_sizes.json",
        # an unknown cluster stops the run also where a figure is all that is asked for
        checked="results/{dataset}/option_warnings.json",
    output:
        png=report(
            "results/{dataset}/{method}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="{dataset}",
            subcategory="{method}",
            labels={"figure": "{figure}"},
        ),
        pdf="results/{dataset}/{method}/figures/{figure}.pdf",
    log:
        "logs/{dataset}/{method}/draw_figure/{figure}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/draw_figure/{figure}.jsonl"
    params:
        code=get_figure_code,
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        options=get_figure_options,
        style=get_figure_style,
    # figures come last, where there are few processors
    priority: -1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("draw_figure"),
        runtime=get_runtime("draw_figure"),
    script:
        "../scripts/draw_figure.py"
