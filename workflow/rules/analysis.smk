"""Velocity embedding, confidence, pseudotimes, gene ranking, PAGA, and the result file."""


rule compute_velocity_embedding:
    input:
        embedding="results/{dataset}/embedding.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        velocity_embedding="results/{dataset}/{method}/velocity_embedding.h5",
    log:
        "logs/{dataset}/{method}/compute_velocity_embedding.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_velocity_embedding.jsonl"
    params:
        code=get_code("compute_velocity_embedding"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_graph"),
        runtime=get_runtime("analyze_graph"),
    script:
        "../scripts/compute_velocity_embedding.py"


rule compute_confidence:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_file,
    output:
        confidence="results/{dataset}/{method}/confidence.h5",
    log:
        "logs/{dataset}/{method}/compute_confidence.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_confidence.jsonl"
    params:
        code=get_code("compute_confidence"),
        scale_genes=lookup("{method}/scale_genes", within=traits),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("compute_confidence"),
        runtime=get_runtime("compute_confidence"),
    script:
        "../scripts/compute_confidence.py"


rule compute_pseudotime:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_file,
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        pseudotime="results/{dataset}/{method}/pseudotime.h5",
        roots="results/{dataset}/{method}/root_sensitivity.csv",
    log:
        "logs/{dataset}/{method}/compute_pseudotime.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_pseudotime.jsonl"
    params:
        code=get_code("compute_pseudotime"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        root=lookup("datasets/{dataset}/root", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("compute_pseudotime"),
        runtime=get_runtime("compute_pseudotime"),
    script:
        "../scripts/compute_pseudotime.py"


rule rank_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_file,
    output:
        ranking="results/{dataset}/{method}/ranking.csv",
    log:
        "logs/{dataset}/{method}/rank_genes.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/rank_genes.jsonl"
    params:
        code=get_code("rank_genes"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("rank_genes"),
        runtime=get_runtime("rank_genes"),
    script:
        "../scripts/rank_genes.py"


rule compute_paga:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
        pseudotime="results/{dataset}/{method}/pseudotime.h5",
    output:
        paga="results/{dataset}/{method}/paga.h5",
    log:
        "logs/{dataset}/{method}/compute_paga.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_paga.jsonl"
    params:
        code=get_code("compute_paga"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_graph"),
        runtime=get_runtime("analyze_graph"),
    script:
        "../scripts/compute_paga.py"


rule assemble_result:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_file,
        graph="results/{dataset}/{method}/velocity_graph.h5",
        embedding="results/{dataset}/embedding.h5",
        quality="results/{dataset}/qc.json",
        velocity_embedding="results/{dataset}/{method}/velocity_embedding.h5",
        confidence="results/{dataset}/{method}/confidence.h5",
        pseudotime="results/{dataset}/{method}/pseudotime.h5",
        ranking="results/{dataset}/{method}/ranking.csv",
        paga="results/{dataset}/{method}/paga.h5",
        cell_cycle="results/{dataset}/cell_cycle.h5",
        kinetics=branch(
            lookup("{method}/has_curves", within=traits),
            then="results/{dataset}/{method}/differential_kinetics.h5",
        ),
        uncertainty=branch(
            lookup("{method}/has_posterior", within=traits),
            then="results/{dataset}/{method}/posterior_scores.h5",
        ),
    output:
        result="results/{dataset}/{method}/velocity.h5ad",
        genes="results/{dataset}/{method}/genes.csv",
        cells="results/{dataset}/{method}/cells.csv",
    log:
        "logs/{dataset}/{method}/assemble_result.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/assemble_result.jsonl"
    params:
        code=get_code("assemble_result"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        options=get_reported_options,
        has_curves=lookup("{method}/has_curves", within=traits),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("assemble_result"),
        runtime=get_runtime("assemble_result"),
    script:
        "../scripts/assemble_result.py"
