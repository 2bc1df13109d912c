"""Should a result be believed?  The same fit on counts that should say less, other methods, and a verdict."""


# the data of a control, for other people's models, which run on it as on the dataset itself
rule export_negative_control:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
    output:
        temp("results/{dataset}/negative_controls/{control}.h5"),
    log:
        "logs/{dataset}/export_negative_control/{control}.log",
    benchmark:
        "results/benchmarks/{dataset}/export_negative_control/{control}.jsonl"
    params:
        code=code_of("export_negative_control"),
        clusters=clusters_of,
        genes=genes_of,
        max_cells=config["trust"]["max_cells"],
        random_state=config["trust"]["random_state"],
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=controls_memory,
        runtime=controls_time,
    script:
        "../scripts/export_negative_control.py"


use rule run_model as run_model_on_negative_control with:
    input:
        cells="results/{dataset}/negative_controls/{control}.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=model_environment,
    output:
        result="results/{dataset}/{method}/negative_controls/{control}.h5",
        samples=temp("results/{dataset}/{method}/negative_controls/{control}_posterior_samples.h5"),
        folder=temp(directory("results/{dataset}/{method}/negative_controls/{control}")),
    log:
        "logs/{dataset}/{method}/run_model_on_negative_control/{control}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/run_model_on_negative_control/{control}.jsonl"


rule run_negative_controls:
    input:
        compiled=compiled_fit,
        fit=fit_to_control,
        modeled=modeled_controls,
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        "results/{dataset}/{method}/negative_controls.json",
    log:
        "logs/{dataset}/{method}/run_negative_controls.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/run_negative_controls.jsonl"
    params:
        code=controls_code,
        clusters=clusters_of,
        genes=genes_of,
        method=method_options,
        modeled=controls_of_model,
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
        max_cells=config["trust"]["max_cells"],
        random_state=config["trust"]["random_state"],
    conda:
        "../../envs/core.yaml"
    threads: controls_threads
    resources:
        mem_mb=controls_memory,
        runtime=controls_time,
    script:
        "../scripts/run_negative_controls.py"


rule compute_verdict:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        quality="results/{dataset}/qc.json",
        embedding="results/{dataset}/embedding.h5",
        projection="results/{dataset}/{method}/velocity_embedding.h5",
        time="results/{dataset}/{method}/pseudotime.h5",
        controls="results/{dataset}/{method}/negative_controls.json",
    output:
        "results/{dataset}/{method}/trust.json",
    log:
        "logs/{dataset}/{method}/compute_verdict.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_verdict.jsonl"
    params:
        code=code_of("compute_verdict"),
        clusters=clusters_of,
        root=root_of,
        expected=expected_of,
        unspliced=[config["quality"][f"{end}_unspliced_fraction"] for end in ("min", "max")],
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=annotations_time,
    script:
        "../scripts/compute_verdict.py"


# one rule, after all others: when it fails, everything is there for all to read
rule require_verdict:
    input:
        wanted_results(),
        verdicts=expand("results/{dataset}/{method}/trust.json", dataset=config["datasets"], method=config["methods"]),
    output:
        touch("results/verdicts_accepted.txt"),
    log:
        "logs/require_verdict.log",
    params:
        code=code_of("require_verdict"),
        least=config["trust"].get("fail_below"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/require_verdict.py"
