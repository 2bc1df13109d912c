"""Velocities that were made elsewhere, taken in; and ours in the form in which Dynamo takes such."""


rule import_precomputed:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        source=external_source,
    output:
        "results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/import_precomputed.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/import_precomputed.jsonl"
    params:
        code=code_of("import_precomputed"),
        content=external_content,
        options=external_options,
    wildcard_constraints:
        method=one_of(external_methods()),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=external_memory,
        runtime=external_time,
    script:
        "../scripts/import_precomputed.py"


rule export_dynamo:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        fit=fit_of,
    output:
        "results/{dataset}/{method}/dynamo.h5ad",
    log:
        "logs/{dataset}/{method}/export_dynamo.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/export_dynamo.jsonl"
    params:
        code=code_of("export_dynamo"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=dynamo_memory,
        runtime=layers_time,
    script:
        "../scripts/export_dynamo.py"
