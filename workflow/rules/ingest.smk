"""The front door: counts as they are read, checked before anything expensive starts."""


rule simulate_counts:
    output:
        "results/{dataset}/simulated.h5ad",
    log:
        "logs/{dataset}/simulate_counts.log",
    benchmark:
        "results/benchmarks/{dataset}/simulate_counts.jsonl"
    params:
        code=code_of("simulate_counts"),
        options=simulation_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=simulation_memory,
        runtime=10,
    script:
        "../scripts/simulate_counts.py"


rule ingest_counts:
    input:
        source=input_of_ingest,
    output:
        counts="results/{dataset}/counts.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    log:
        "logs/{dataset}/ingest_counts.log",
    benchmark:
        "results/benchmarks/{dataset}/ingest_counts.jsonl"
    params:
        code=code_of("ingest_counts"),
        source=source_of,
        content=content_of_source,
        options=ingest_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=ingest_memory,
        runtime=ingest_time,
    script:
        "../scripts/ingest_counts.py"


# Nothing expensive waits for this job: another root or other clusters are no reason to fit again, and behind an
# `ancient` input Snakemake overlooks what else has changed.  It has priority, and a run ends when it fails.
rule check_options:
    input:
        counts="results/{dataset}/counts.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    output:
        "results/{dataset}/option_warnings.json",
    log:
        "logs/{dataset}/check_options.log",
    benchmark:
        "results/benchmarks/{dataset}/check_options.jsonl"
    params:
        code=code_of("check_options"),
        options=asked_options,
    priority: 100
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=check_memory,
        runtime=20,
    script:
        "../scripts/check_options.py"
