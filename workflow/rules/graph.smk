"""The velocity graph: one job a shard of cells, put together by a merge."""


rule compute_velocity_graph:
    input:
        compiled=f"results/compiled/graph.{code_of('compute_velocity_graph')[:8]}.txt",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_of,
    output:
        temp("results/{dataset}/{method}/velocity_graph_shards/{cell_shard}.h5"),
    log:
        "logs/{dataset}/{method}/compute_velocity_graph/{cell_shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_velocity_graph/{cell_shard}.jsonl"
    params:
        code=code_of("compute_velocity_graph", "merge_velocity_graph"),
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=graph_memory,
        runtime=graph_time,
    script:
        "../scripts/compute_velocity_graph.py"


rule merge_velocity_graph:
    input:
        sizes="results/{dataset}/prepared_sizes.json",
        shards=graph_shards,
    output:
        "results/{dataset}/{method}/velocity_graph.h5",
    log:
        "logs/{dataset}/{method}/merge_velocity_graph.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_velocity_graph.jsonl"
    params:
        code=code_of("compute_velocity_graph", "merge_velocity_graph"),
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merged_graph_memory,
        runtime=analysis_time,
    script:
        "../scripts/merge_velocity_graph.py"
