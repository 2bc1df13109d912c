"""The front door: counts as they are read, checked before anything expensive starts."""


def simulation_options(wildcards):
    """Options of a dataset's simulation."""
    return dataset_options(wildcards)["simulate"]


def simulation_memory(wildcards, attempt):
    """Dense matrices of the truth, a handful at a time."""
    options = simulation_options(wildcards)
    return megabytes(100 * options["n_cells"] * options["n_genes"], attempt)


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


def source_of(wildcards):
    """Where a dataset's counts are read from."""
    options = dataset_options(wildcards)
    if "simulate" in options:
        return f"results/{wildcards.dataset}/simulated.h5ad"
    if not Path(options["source"]).exists():
        raise WorkflowError(
            f"dataset {wildcards.dataset!r}: there is no file {options['source']!r} (seen from {Path.cwd()}). "
            f"Set datasets.{wildcards.dataset}.source."
        )
    return options["source"]


def ingest_options(wildcards):
    """Options of a dataset by which its source is read."""
    return chosen_options(wildcards, "layers", "pca", "neighbors")


def asked_options(wildcards):
    """Options of a dataset that name what must be in it."""
    return chosen_options(wildcards, "clusters", "root", "embedding", "cells", "genes")


def ingest_memory(wildcards, input, attempt):
    """Both layers and a copy of each, of a file that may be compressed."""
    return megabytes(10 * Path(input.source).stat().st_size, attempt)


rule ingest_counts:
    input:
        source=source_of,
    output:
        "results/{dataset}/counts.h5ad",
    log:
        "logs/{dataset}/ingest_counts.log",
    benchmark:
        "results/benchmarks/{dataset}/ingest_counts.jsonl"
    params:
        code=code_of("ingest_counts"),
        options=ingest_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=ingest_memory,
        runtime=60,
    script:
        "../scripts/ingest_counts.py"


def check_memory(wildcards, input, attempt):
    """Annotations of the cells, surely less than the file."""
    return megabytes(4 * Path(input.counts).stat().st_size, attempt)


# Nothing expensive waits for this job: another root or other clusters are no reason to fit again, and behind an
# `ancient` input Snakemake overlooks what else has changed.  It has priority, and a run ends when it fails.
rule check_options:
    input:
        counts="results/{dataset}/counts.h5ad",
    output:
        "results/{dataset}/checked.json",
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
