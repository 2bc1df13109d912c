"""Comparison of all methods of a dataset with each other, and with true velocities if they are known."""


rule compare_methods:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        truth=get_truth,
        fit=get_fits,
        pseudotime=collect("results/{{dataset}}/{method}/pseudotime.h5", method=traits),
    output:
        pairs="results/{dataset}/comparison.csv",
        cells="results/{dataset}/agreement.csv",
    log:
        "logs/{dataset}/compare_methods.log",
    benchmark:
        "results/benchmarks/{dataset}/compare_methods.jsonl"
    params:
        code=get_code("compare_methods"),
        methods=list(traits),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("compare_methods"),
        runtime=get_runtime("compare_methods"),
    script:
        "../scripts/compare_methods.py"


rule summarize_methods:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        cells="results/{dataset}/agreement.csv",
        fit=get_fits,
        velocity_embedding=collect("results/{{dataset}}/{method}/velocity_embedding.h5", method=traits),
        confidence=collect("results/{{dataset}}/{method}/confidence.h5", method=traits),
        trust=collect("results/{{dataset}}/{method}/trust.json", method=traits),
    output:
        methods="results/{dataset}/methods.csv",
    log:
        "logs/{dataset}/summarize_methods.log",
    benchmark:
        "results/benchmarks/{dataset}/summarize_methods.jsonl"
    params:
        code=get_code("summarize_methods"),
        methods=list(traits),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        root=lookup("datasets/{dataset}/root", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("summarize_methods"),
        runtime=get_runtime("summarize_methods"),
    script:
        "../scripts/summarize_methods.py"


rule draw_comparison:
    input:
        pairs="results/{dataset}/comparison.csv",
        cells="results/{dataset}/agreement.csv",
        embedding="results/{dataset}/embedding.h5",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        png=report(
            "results/{dataset}/figures/{figure}.png",
            caption="../report/comparison_figure.rst",
            category="{dataset}",
            subcategory=ALL_METHODS,
            labels={"figure": "{figure}"},
        ),
        pdf="results/{dataset}/figures/{figure}.pdf",
    log:
        "logs/{dataset}/draw_comparison/{figure}.log",
    benchmark:
        "results/benchmarks/{dataset}/draw_comparison/{figure}.jsonl"
    params:
        code=get_comparison_code,
        style=get_figure_style,
    wildcard_constraints:
        figure=get_pattern(COMPARISON_FIGURES),
    priority: -1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=get_runtime("read_annotations"),
    script:
        "../scripts/draw_comparison.py"


rule tabulate_comparison:
    input:
        pairs="results/{dataset}/comparison.csv",
        methods="results/{dataset}/methods.csv",
    output:
        page=report(
            "results/{dataset}/comparison.html",
            caption="../report/comparison.rst",
            category="{dataset}",
            subcategory=ALL_METHODS,
            labels={"figure": "all tables"},
        ),
    log:
        "logs/{dataset}/tabulate_comparison.log",
    params:
        code=get_code("tabulate_comparison"),
        benchmarks="results/benchmarks",
        rules=RULES,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_comparison.py"
