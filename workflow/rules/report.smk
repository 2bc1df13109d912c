"""Pages for the report of a run, which `make report` puts together: tables of each result, and what the run took."""


report: "../report/workflow.rst"


rule tabulate_results:
    input:
        genes="results/{dataset}/{method}/genes.csv",
        ranking="results/{dataset}/{method}/ranking.csv",
        roots="results/{dataset}/{method}/root_sensitivity.csv",
        trust="results/{dataset}/{method}/trust.json",
        kinetics=kinetics_table_of,
    output:
        report(
            "results/{dataset}/{method}/tables.html",
            caption="../report/tables.rst",
            category="{dataset}",
            subcategory="{method}",
            # the report sorts by it, and this is what to look at first
            labels={"figure": "all tables"},
        ),
    log:
        "logs/{dataset}/{method}/tabulate_results.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/tabulate_results.jsonl"
    params:
        code=code_of("tabulate_results"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_results.py"


rule tabulate_run:
    input:
        results=expand("results/{dataset}/{method}/velocity.h5ad", dataset=config["datasets"], method=config["methods"]),
        quality=expand("results/{dataset}/qc.json", dataset=config["datasets"]),
        trust=expand("results/{dataset}/{method}/trust.json", dataset=config["datasets"], method=config["methods"]),
    output:
        report(
            "results/run.html",
            caption="../report/run.rst",
            category="Run",
            labels={"figure": "verdicts, quality, times and versions"},
        ),
    log:
        "logs/tabulate_run.log",
    params:
        code=code_of("tabulate_run"),
        benchmarks="results/benchmarks",
        rules=RULES,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_run.py"


rule tabulate_all:
    input:
        wanted_results(),
        "results/run.html",
        expand("results/{dataset}/{method}/tables.html", dataset=config["datasets"], method=config["methods"]),
        expand("results/{dataset}/comparison.html", dataset=config["datasets"] if has_comparison() else []),
