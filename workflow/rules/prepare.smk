"""Steps that require all genes: selection, normalization, neighbors, embedding, quality and cell cycle."""


# a checkpoint, because the numbers of genes and cells determine the number of shards
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
        code=get_code("prepare_data"),
        options=get_preprocess_options,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("prepare_data"),
        runtime=get_runtime("prepare_data"),
    script:
        "../scripts/prepare_data.py"


rule compute_embedding:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        embedding="results/{dataset}/embedding.h5",
    log:
        "logs/{dataset}/compute_embedding.log",
    benchmark:
        "results/benchmarks/{dataset}/compute_embedding.jsonl"
    params:
        code=get_code("compute_embedding"),
        options=get_embedding_options,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("compute_embedding"),
        runtime=get_runtime("compute_embedding"),
    script:
        "../scripts/compute_embedding.py"


rule summarize_quality:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        checked="results/{dataset}/option_warnings.json",
    output:
        quality="results/{dataset}/qc.json",
    log:
        "logs/{dataset}/summarize_quality.log",
    benchmark:
        "results/benchmarks/{dataset}/summarize_quality.jsonl"
    params:
        code=get_code("summarize_quality"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        thresholds=config["quality"],
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=get_runtime("read_annotations"),
    script:
        "../scripts/summarize_quality.py"


rule score_cell_cycle:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/counts_sizes.json",
    output:
        cell_cycle="results/{dataset}/cell_cycle.h5",
    log:
        "logs/{dataset}/score_cell_cycle.log",
    benchmark:
        "results/benchmarks/{dataset}/score_cell_cycle.jsonl"
    params:
        code=get_code("score_cell_cycle"),
        genes=lookup("datasets/{dataset}/genes", within=config, default={}),
        random_state=lookup("datasets/{dataset}/preprocess/random_state", within=config),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("score_cell_cycle"),
        runtime=get_runtime("score_cell_cycle"),
    script:
        "../scripts/score_cell_cycle.py"
