"""What spans genes: kept cells and genes, sizes, components, neighbors; and how the cells are shown."""


# a checkpoint, because the number of cells decides into how many jobs the velocity graph is split
checkpoint prepare_data:
    input:
        counts="results/{dataset}/counts.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    output:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    log:
        "logs/{dataset}/prepare_data.log",
    benchmark:
        "results/benchmarks/{dataset}/prepare_data.jsonl"
    params:
        code=code_of("prepare_data"),
        options=prepare_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=prepare_memory,
        runtime=prepare_time,
    script:
        "../scripts/prepare_data.py"


rule compute_embedding:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        "results/{dataset}/embedding.h5",
    log:
        "logs/{dataset}/compute_embedding.log",
    benchmark:
        "results/benchmarks/{dataset}/compute_embedding.jsonl"
    params:
        code=code_of("compute_embedding"),
        options=embedding_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=embedding_memory,
        runtime=embedding_time,
    script:
        "../scripts/compute_embedding.py"


rule summarize_quality:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        checked="results/{dataset}/option_warnings.json",
    output:
        "results/{dataset}/qc.json",
    log:
        "logs/{dataset}/summarize_quality.log",
    benchmark:
        "results/benchmarks/{dataset}/summarize_quality.jsonl"
    params:
        code=code_of("summarize_quality"),
        clusters=clusters_of,
        thresholds=config["quality"],
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=annotations_time,
    script:
        "../scripts/summarize_quality.py"


rule score_cell_cycle:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    output:
        "results/{dataset}/cell_cycle.h5",
    log:
        "logs/{dataset}/score_cell_cycle.log",
    benchmark:
        "results/benchmarks/{dataset}/score_cell_cycle.jsonl"
    params:
        code=code_of("score_cell_cycle"),
        genes=genes_of,
        random_state=config["preprocess"]["random_state"],
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=cell_cycle_memory,
        runtime=cell_cycle_time,
    script:
        "../scripts/score_cell_cycle.py"
