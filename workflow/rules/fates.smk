"""Where the cells will end, by CellRank, and the walk between them for other programs; both only if asked for."""


rule compute_fate_probabilities:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=cellrank_environment,
    output:
        fates="results/{dataset}/{method}/fate_probabilities.csv",
        drivers="results/{dataset}/{method}/lineage_drivers.csv",
        summary="results/{dataset}/{method}/fate_summary.json",
    log:
        "logs/{dataset}/{method}/compute_fate_probabilities.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_fate_probabilities.jsonl"
    params:
        code=code_of("compute_fate_probabilities"),
        command=command_for("../scripts/compute_fate_probabilities.py"),
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


rule export_transition_matrix:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        "results/{dataset}/{method}/transition_matrix.h5ad",
    log:
        "logs/{dataset}/{method}/export_transition_matrix.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/export_transition_matrix.jsonl"
    params:
        code=code_of("export_transition_matrix"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=analysis_time,
    script:
        "../scripts/export_transition_matrix.py"
