"""Pages of the report that `make report` writes: tables of each result, and of the run."""


report: "../report/workflow.rst"


rule tabulate_results:
    input:
        genes="results/{dataset}/{method}/genes.csv",
        ranking="results/{dataset}/{method}/ranking.csv",
        roots="results/{dataset}/{method}/root_sensitivity.csv",
        trust="results/{dataset}/{method}/trust.json",
        kinetics=branch(
            lookup("{method}/has_curves", within=traits),
            then="results/{dataset}/{method}/differential_kinetics.csv",
        ),
    output:
        page=report(
            "results/{dataset}/{method}/tables.html",
            caption="../report/tables.rst",
            category="{dataset}",
            subcategory="{method}",
            # the report sorts by this label, and these tables should come first
            labels={"figure": "all tables"},
        ),
    log:
        "logs/{dataset}/{method}/tabulate_results.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/tabulate_results.jsonl"
    params:
        code=get_code("tabulate_results"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_results.py"


rule tabulate_run:
    input:
        results=collect("results/{dataset}/{method}/velocity.h5ad", dataset=config["datasets"], method=traits),
        quality=collect("results/{dataset}/qc.json", dataset=config["datasets"]),
        trust=collect("results/{dataset}/{method}/trust.json", dataset=config["datasets"], method=traits),
    output:
        page=report(
            "results/run.html",
            caption="../report/run.rst",
            category="Run",
            labels={"figure": "verdicts, quality, times and versions"},
        ),
    log:
        "logs/tabulate_run.log",
    params:
        code=get_code("tabulate_run"),
        benchmarks="results/benchmarks",
        rules=RULES,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_run.py"


rule tabulate_all:
    input:
        get_requested_results(),
        "results/run.html",
        collect("results/{dataset}/{method}/tables.html", dataset=config["datasets"], method=traits),
        collect("results/{dataset}/comparison.html", dataset=config["datasets"] if len(traits) > 1 else []),
