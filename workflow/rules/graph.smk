"""The velocity graph: one job a shard of cells, put together by a merge."""


rule build_graph:
    input:
        compiled=f"results/compiled/graph.{code_of('build_graph')[:8]}.txt",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit=fit_of,
    output:
        temp("results/{dataset}/{method}/graph_shards/{cells}.h5"),
    log:
        "logs/{dataset}/{method}/build_graph/{cells}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/build_graph/{cells}.jsonl"
    params:
        code=code_of("build_graph", "merge_graphs"),
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=graph_memory,
        runtime=graph_time,
    script:
        "../scripts/build_graph.py"


rule merge_graphs:
    input:
        sizes="results/{dataset}/sizes.json",
        shards=graph_shards,
    output:
        "results/{dataset}/{method}/graph.h5",
    log:
        "logs/{dataset}/{method}/merge_graphs.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_graphs.jsonl"
    params:
        code=code_of("build_graph", "merge_graphs"),
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merged_graph_memory,
        runtime=analysis_time,
    script:
        "../scripts/merge_graphs.py"
