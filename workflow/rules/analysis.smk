"""From the velocity graph to arrows, scores and times of the cells, and to the file that users open."""


rule compute_velocity_embedding:
    input:
        embedding="results/{dataset}/embedding.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        "results/{dataset}/{method}/velocity_embedding.h5",
    log:
        "logs/{dataset}/{method}/compute_velocity_embedding.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_velocity_embedding.jsonl"
    params:
        code=code_of("compute_velocity_embedding"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/compute_velocity_embedding.py"


rule compute_confidence:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_of,
    output:
        "results/{dataset}/{method}/confidence.h5",
    log:
        "logs/{dataset}/{method}/compute_confidence.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_confidence.jsonl"
    params:
        code=code_of("compute_confidence"),
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=confidence_memory,
        runtime=layers_time,
    script:
        "../scripts/compute_confidence.py"


rule compute_pseudotime:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_of,
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        orders="results/{dataset}/{method}/pseudotime.h5",
        roots="results/{dataset}/{method}/root_sensitivity.csv",
    log:
        "logs/{dataset}/{method}/compute_pseudotime.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_pseudotime.jsonl"
    params:
        code=code_of("compute_pseudotime"),
        clusters=clusters_of,
        root=root_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=order_memory,
        runtime=order_time,
    script:
        "../scripts/compute_pseudotime.py"


rule rank_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_of,
    output:
        "results/{dataset}/{method}/ranking.csv",
    log:
        "logs/{dataset}/{method}/rank_genes.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/rank_genes.jsonl"
    params:
        code=code_of("rank_genes"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=ranking_memory,
        runtime=ranking_time,
    script:
        "../scripts/rank_genes.py"


rule compute_paga:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
        time="results/{dataset}/{method}/pseudotime.h5",
    output:
        "results/{dataset}/{method}/paga.h5",
    log:
        "logs/{dataset}/{method}/compute_paga.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_paga.jsonl"
    params:
        code=code_of("compute_paga"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/compute_paga.py"


rule assemble_result:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_of,
        graph="results/{dataset}/{method}/velocity_graph.h5",
        embedding="results/{dataset}/embedding.h5",
        quality="results/{dataset}/qc.json",
        projection="results/{dataset}/{method}/velocity_embedding.h5",
        confidence="results/{dataset}/{method}/confidence.h5",
        time="results/{dataset}/{method}/pseudotime.h5",
        ranking="results/{dataset}/{method}/ranking.csv",
        paga="results/{dataset}/{method}/paga.h5",
        cell_cycle="results/{dataset}/cell_cycle.h5",
        kinetics=kinetics_of,
        uncertainty=uncertainty_of,
    output:
        result="results/{dataset}/{method}/velocity.h5ad",
        genes="results/{dataset}/{method}/genes.csv",
        cells="results/{dataset}/{method}/cells.csv",
    log:
        "logs/{dataset}/{method}/assemble_result.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/assemble_result.jsonl"
    params:
        code=code_of("assemble_result"),
        clusters=clusters_of,
        options=reported_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=layers_time,
    script:
        "../scripts/assemble_result.py"
