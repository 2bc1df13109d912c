"""What a run was and what it took: a page for the report of a run, made by `make report`."""


rule tabulate_run:
    input:
        results=expand("results/{dataset}/{method}/velocity.h5ad", dataset=config["datasets"], method=config["methods"]),
        quality=expand("results/{dataset}/qc.json", dataset=config["datasets"]),
    output:
        report("results/run.html", category="Run", labels={"table": "provenance, times and memory"}),
    log:
        "logs/tabulate_run.log",
    params:
        code=code_of("tabulate_run"),
        benchmarks="results/benchmarks",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        "../scripts/tabulate_run.py"
