"""Fate probabilities and lineage drivers, by CellRank, if the config asks for them."""


rule compute_fate_probabilities:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=get_cellrank_environment,
    output:
        fate_probabilities="results/{dataset}/{method}/fate_probabilities.csv",
        lineage_drivers="results/{dataset}/{method}/lineage_drivers.csv",
        summary="results/{dataset}/{method}/fate_summary.json",
    log:
        "logs/{dataset}/{method}/compute_fate_probabilities.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_fate_probabilities.jsonl"
    params:
        code=get_code("compute_fate_probabilities"),
        command=get_command("../scripts/compute_fate_probabilities.py"),
        options=get_fate_options,
    conda:
        "../../envs/cellrank.yaml"
    container:
        None
    resources:
        mem_mb=get_memory("compute_fate_probabilities"),
        runtime=get_runtime("compute_fate_probabilities"),
    shell:
        "{params.command} --result {input.result:q} --options {params.options:q}"
        " --fate-probabilities {output.fate_probabilities:q} --lineage-drivers {output.lineage_drivers:q}"
        " --summary {output.summary:q} > {log:q} 2>&1"
        " || {{ tail -n 1 {log:q} >&2; exit 1; }}"
