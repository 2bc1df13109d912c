"""Figures of a result."""


rule draw_figure:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
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
        code=figure_code,
        options=figure_options,
        style=figure_style,
    # after all data, where there are few processors: one that fails is no loss then
    priority: -1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=get_runtime("read_annotations"),
    script:
        "../scripts/draw_figure.py"
