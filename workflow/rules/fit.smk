"""The splicing kinetics of each gene: one job a gene shard, put together by a merge."""


rule fit_genes:
    input:
        compiled=compiled_fit,
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        temp("results/{dataset}/{method}/fit_shards/{gene_shard}.h5"),
    log:
        "logs/{dataset}/{method}/fit_genes/{gene_shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/fit_genes/{gene_shard}.jsonl"
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
        sizes="results/{dataset}/prepared_sizes.json",
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
    wildcard_constraints:
        method=one_of(gene_wise_methods()),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merge_memory,
        runtime=layers_time,
    script:
        "../scripts/merge_fits.py"


rule test_differential_kinetics:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
    output:
        table="results/{dataset}/{method}/differential_kinetics.csv",
        kinetics="results/{dataset}/{method}/differential_kinetics.h5",
    log:
        "logs/{dataset}/{method}/test_differential_kinetics.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/test_differential_kinetics.jsonl"
    params:
        code=code_of("test_differential_kinetics"),
        clusters=clusters_of,
        max_q=config["kinetics"]["max_q"],
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=kinetics_memory,
        runtime=kinetics_time,
    script:
        "../scripts/test_differential_kinetics.py"


# what comes after reads its fit instead of the merged one where the config says so
rule refit_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
        kinetics="results/{dataset}/{method}/differential_kinetics.h5",
    output:
        "results/{dataset}/{method}/refit.h5",
    log:
        "logs/{dataset}/{method}/refit_genes.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/refit_genes.jsonl"
    params:
        code=refit_code,
        clusters=clusters_of,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: refit_threads
    resources:
        mem_mb=refit_memory,
        runtime=refit_time,
    script:
        "../scripts/refit_genes.py"
