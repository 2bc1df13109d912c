"""Where the cells will end, by CellRank, and the walk between them for other programs; both only if asked for."""


rule compute_fates:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/sizes.json",
        environment=cellrank_environment,
    output:
        fates="results/{dataset}/{method}/fates.csv",
        drivers="results/{dataset}/{method}/drivers.csv",
        summary="results/{dataset}/{method}/fates.json",
    log:
        "logs/{dataset}/{method}/compute_fates.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_fates.jsonl"
    params:
        code=code_of("compute_fates"),
        command=command_for("../scripts/compute_fates.py"),
        options=fate_options,
    conda:
        "../../envs/cellrank.yaml"
    container:
        None
    threads: 1
    resources:
        mem_mb=fate_memory,
        runtime=fate_time,
    shell:
        "{params.command} --result {input.result:q} --options {params.options:q} --fates {output.fates:q}"
        " --drivers {output.drivers:q} --summary {output.summary:q} > {log:q} 2>&1"
        " || {{ tail -n 1 {log:q} >&2; exit 1; }}"


rule export_transitions:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        graph="results/{dataset}/{method}/graph.h5",
    output:
        "results/{dataset}/{method}/transitions.h5ad",
    log:
        "logs/{dataset}/{method}/export_transitions.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/export_transitions.jsonl"
    params:
        code=code_of("export_transitions"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/export_transitions.py"
