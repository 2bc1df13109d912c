"""Optional files of each result for other programs."""


rule export_transition_matrix:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        transition_matrix="results/{dataset}/{method}/transition_matrix.h5ad",
    log:
        "logs/{dataset}/{method}/export_transition_matrix.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/export_transition_matrix.jsonl"
    params:
        code=get_code("export_transition_matrix"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_graph"),
        runtime=get_runtime("analyze_graph"),
    script:
        "../scripts/export_transition_matrix.py"


rule export_dynamo:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        fit=fit_file,
    output:
        dynamo="results/{dataset}/{method}/dynamo.h5ad",
    log:
        "logs/{dataset}/{method}/export_dynamo.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/export_dynamo.jsonl"
    params:
        code=get_code("export_dynamo"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("export_dynamo"),
        runtime=get_runtime("export_dynamo"),
    script:
        "../scripts/export_dynamo.py"
