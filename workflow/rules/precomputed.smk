"""Velocities that other software computed."""


rule import_precomputed:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        source=get_precomputed_source,
    output:
        fit="results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/import_precomputed.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/import_precomputed.jsonl"
    params:
        code=get_code("import_precomputed"),
        content=get_precomputed_content,
        options=get_method_options("method", "source"),
    wildcard_constraints:
        method=get_pattern(get_methods("kind", "precomputed")),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("import_precomputed"),
        runtime=get_runtime("import_precomputed"),
    script:
        "../scripts/import_precomputed.py"
