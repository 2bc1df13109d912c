"""Compilation of what shards run: once, before them, into the folder that the config names.

Outputs are named by what they compile (`key`): another config in the same folder leaves them, and what came after, alone.
"""


rule compile_fit:
    output:
        marker="results/compiled/fit/{method}.{key}.txt",
    log:
        "logs/compiled/fit/{method}.{key}.log",
    benchmark:
        "results/benchmarks/compile_fit/{method}.{key}.jsonl"
    params:
        code=get_method_code("fit_genes", "merge_fits"),
        options=lookup("methods/{method}", within=config),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/compile_fit.py"


rule compile_velocity_graph:
    output:
        marker="results/compiled/graph.{key}.txt",
    log:
        "logs/compiled/graph.{key}.log",
    benchmark:
        "results/benchmarks/compile_velocity_graph/{key}.jsonl"
    params:
        code=get_code("compute_velocity_graph"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/compile_velocity_graph.py"
