"""Simulated or ingested counts, and checks of the options that name clusters and genes in them."""


rule simulate_counts:
    output:
        counts="results/{dataset}/simulated.h5ad",
    log:
        "logs/{dataset}/simulate_counts.log",
    benchmark:
        "results/benchmarks/{dataset}/simulate_counts.jsonl"
    params:
        code=get_code("simulate_counts"),
        options=lookup("datasets/{dataset}/simulate", within=config),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("simulate_counts"),
        runtime=10,
    script:
        "../scripts/simulate_counts.py"


rule ingest_counts:
    input:
        source=get_ingest_input,
    output:
        counts="results/{dataset}/counts.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    log:
        "logs/{dataset}/ingest_counts.log",
    benchmark:
        "results/benchmarks/{dataset}/ingest_counts.jsonl"
    params:
        code=get_code("ingest_counts"),
        source=get_source,
        content=get_source_content,
        options=get_ingest_options,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("ingest_counts"),
        runtime=get_runtime("ingest_counts"),
    script:
        "../scripts/ingest_counts.py"


# No fit reads the output, because another root or other clusters are no reason to fit again. An `ancient` input would
# not do, because Snakemake then overlooks other changes. The job has priority, and a run ends if it fails.
rule check_options:
    input:
        counts="results/{dataset}/counts.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    output:
        warnings="results/{dataset}/option_warnings.json",
    log:
        "logs/{dataset}/check_options.log",
    benchmark:
        "results/benchmarks/{dataset}/check_options.jsonl"
    params:
        code=get_code("check_options"),
        options=get_dataset_options("clusters", "root", "terminal_states", "expected", "embedding", "cells", "genes"),
    priority: 100
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("check_options"),
        runtime=20,
    script:
        "../scripts/check_options.py"
