"""Splicing kinetics of each gene, with one job per gene shard and a merge; differential kinetics of clusters."""


rule fit_genes:
    input:
        compiled=get_compiled_fit,
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        shard=temp("results/{dataset}/{method}/fit_shards/{gene_shard}.h5"),
    log:
        "logs/{dataset}/{method}/fit_genes/{gene_shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/fit_genes/{gene_shard}.jsonl"
    params:
        code=get_method_code("fit_genes", "merge_fits"),
        options=lookup("methods/{method}", within=config),
    conda:
        "../../envs/core.yaml"
    threads: get_threads("fit_genes")
    resources:
        mem_mb=get_memory("fit_genes"),
        runtime=get_runtime("fit_genes"),
    script:
        "../scripts/fit_genes.py"


rule merge_fits:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        shards=get_shards("fit_shards", "n_genes", config["genes_per_shard"]),
    output:
        fit="results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/merge_fits.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_fits.jsonl"
    params:
        code=get_method_code("fit_genes", "merge_fits"),
        options=lookup("methods/{method}", within=config),
    wildcard_constraints:
        method=get_pattern(get_methods("kind", "native")),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("merge_fits"),
        runtime=get_runtime("merge_fits"),
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
        code=get_code("test_differential_kinetics"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        max_q=config["kinetics"]["max_q"],
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("test_differential_kinetics"),
        runtime=get_runtime("test_differential_kinetics"),
    script:
        "../scripts/test_differential_kinetics.py"


# with `kinetics.refit`, later steps read this fit instead of the merged one
rule refit_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
        kinetics="results/{dataset}/{method}/differential_kinetics.h5",
    output:
        refit="results/{dataset}/{method}/refit.h5",
    log:
        "logs/{dataset}/{method}/refit_genes.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/refit_genes.jsonl"
    params:
        code=get_method_code("refit_genes"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        options=lookup("methods/{method}", within=config),
    conda:
        "../../envs/core.yaml"
    threads: get_threads("refit_genes")
    resources:
        mem_mb=get_memory("refit_genes"),
        runtime=get_runtime("refit_genes"),
    script:
        "../scripts/refit_genes.py"
