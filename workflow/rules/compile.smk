"""Compilation of what shards run: once, before them, into the folder that the config names."""


rule compile_fit:
    output:
        "results/compiled/fit/{method}.txt",
    log:
        "logs/compiled/fit/{method}.log",
    benchmark:
        "results/benchmarks/compile_fit/{method}.jsonl"
    params:
        code=fit_code,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/compile_fit.py"


rule compile_graph:
    output:
        "results/compiled/graph.txt",
    log:
        "logs/compiled/graph.log",
    benchmark:
        "results/benchmarks/compile_graph.jsonl"
    params:
        code=code_of("build_graph"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/compile_graph.py"
