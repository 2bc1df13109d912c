"""From the velocity graph to arrows, scores and times of the cells, and to the file that users open."""


rule project_velocity:
    input:
        embedding="results/{dataset}/embedding.h5",
        sizes="results/{dataset}/sizes.json",
        graph="results/{dataset}/{method}/graph.h5",
    output:
        "results/{dataset}/{method}/projection.h5",
    log:
        "logs/{dataset}/{method}/project_velocity.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/project_velocity.jsonl"
    params:
        code=code_of("project_velocity"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/project_velocity.py"


rule score_confidence:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit=fit_of,
    output:
        "results/{dataset}/{method}/confidence.h5",
    log:
        "logs/{dataset}/{method}/score_confidence.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/score_confidence.jsonl"
    params:
        code=code_of("score_confidence"),
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=confidence_memory,
        runtime=layers_time,
    script:
        "../scripts/score_confidence.py"


rule order_cells:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit=fit_of,
        graph="results/{dataset}/{method}/graph.h5",
    output:
        orders="results/{dataset}/{method}/time.h5",
        roots="results/{dataset}/{method}/roots.csv",
    log:
        "logs/{dataset}/{method}/order_cells.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/order_cells.jsonl"
    params:
        code=code_of("order_cells"),
        clusters=clusters_of,
        root=root_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=order_memory,
        runtime=order_time,
    script:
        "../scripts/order_cells.py"


rule rank_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
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


rule abstract_graph:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        graph="results/{dataset}/{method}/graph.h5",
        time="results/{dataset}/{method}/time.h5",
    output:
        "results/{dataset}/{method}/paga.h5",
    log:
        "logs/{dataset}/{method}/abstract_graph.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/abstract_graph.jsonl"
    params:
        code=code_of("abstract_graph"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/abstract_graph.py"


rule assemble_result:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit=fit_of,
        graph="results/{dataset}/{method}/graph.h5",
        embedding="results/{dataset}/embedding.h5",
        quality="results/{dataset}/qc.json",
        projection="results/{dataset}/{method}/projection.h5",
        confidence="results/{dataset}/{method}/confidence.h5",
        time="results/{dataset}/{method}/time.h5",
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
