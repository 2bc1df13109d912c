"""Velocity graph, with one job per cell shard and a merge."""


rule compute_velocity_graph:
    input:
        compiled=f"results/compiled/graph.{get_code('compute_velocity_graph')[:8]}.txt",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        fit=fit_file,
    output:
        shard=temp("results/{dataset}/{method}/velocity_graph_shards/{cell_shard}.h5"),
    log:
        "logs/{dataset}/{method}/compute_velocity_graph/{cell_shard}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_velocity_graph/{cell_shard}.jsonl"
    params:
        code=get_code("compute_velocity_graph", "merge_velocity_graph"),
        sqrt_transform=lookup("{method}/sqrt_transform", within=traits),
        scale_genes=lookup("{method}/scale_genes", within=traits),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("compute_velocity_graph"),
        runtime=get_runtime("compute_velocity_graph"),
    script:
        "../scripts/compute_velocity_graph.py"


rule merge_velocity_graph:
    input:
        sizes="results/{dataset}/prepared_sizes.json",
        shards=get_shards("velocity_graph_shards", "n_cells", config["graph"]["cells_per_shard"]),
    output:
        graph="results/{dataset}/{method}/velocity_graph.h5",
    log:
        "logs/{dataset}/{method}/merge_velocity_graph.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_velocity_graph.jsonl"
    params:
        code=get_code("compute_velocity_graph", "merge_velocity_graph"),
        sqrt_transform=lookup("{method}/sqrt_transform", within=traits),
        scale_genes=lookup("{method}/scale_genes", within=traits),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("merge_velocity_graph"),
        runtime=get_runtime("merge_velocity_graph"),
    script:
        "../scripts/merge_velocity_graph.py"
