"""The splicing kinetics of each gene: one job a gene shard, put together by a merge."""


rule fit_genes:
    input:
        compiled=compiled_fit,
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
    output:
        temp("results/{dataset}/{method}/shards/{genes}.h5"),
    log:
        "logs/{dataset}/{method}/fit_genes/{genes}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/fit_genes/{genes}.jsonl"
    params:
        code=fit_code,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: fit_threads
    resources:
        mem_mb=fit_memory,
        runtime=fit_time,
    script:
        "../scripts/fit_genes.py"


rule merge_fits:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        shards=fit_shards,
    output:
        "results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/merge_fits.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_fits.jsonl"
    params:
        code=fit_code,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merge_memory,
        runtime=layers_time,
    script:
        "../scripts/merge_fits.py"
