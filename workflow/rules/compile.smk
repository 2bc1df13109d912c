"""Compilation of the kernels that shards run, once before them, into the folder `compiled` of the config.

The names of the outputs have a hash of the code and the options (`key`), so that another config in the same folder does
not make later results outdated.
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
