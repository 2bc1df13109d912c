"""All methods of a dataset, held against each other and against the truth where that is known."""


rule compare_methods:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        truth=truth_of,
        fit=fits_of,
        time=of_each_method("pseudotime.h5"),
        projection=of_each_method("velocity_embedding.h5"),
        confidence=of_each_method("confidence.h5"),
        trust=of_each_method("trust.json"),
    output:
        pairs="results/{dataset}/comparison.csv",
        methods="results/{dataset}/methods.csv",
        cells="results/{dataset}/agreement.csv",
    log:
        "logs/{dataset}/compare_methods.log",
    benchmark:
        "results/benchmarks/{dataset}/compare_methods.jsonl"
    params:
        code=code_of("compare_methods"),
        methods=list(config["methods"]),
        clusters=clusters_of,
        root=root_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=comparison_memory,
        runtime=comparison_time,
    script:
        "../scripts/compare_methods.py"


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
        code=comparison_code,
        style=figure_style,
    wildcard_constraints:
        figure=one_of(comparison_figures()),
    priority: -1
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=annotations_time,
    script:
        "../scripts/draw_comparison.py"


rule tabulate_comparison:
    input:
        pairs="results/{dataset}/comparison.csv",
        methods="results/{dataset}/methods.csv",
    output:
        report(
            "results/{dataset}/comparison.html",
            caption="../report/comparison.rst",
            category="{dataset}",
            subcategory=ALL_METHODS,
            labels={"figure": "all tables"},
        ),
    log:
        "logs/{dataset}/tabulate_comparison.log",
    params:
        code=code_of("tabulate_comparison"),
        benchmarks="results/benchmarks",
        rules=RULES,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_comparison.py"
