"""Reliability checks: negative controls, comparison with other methods, and a verdict."""


# models of other groups run on the data of a negative control as on the dataset
rule export_negative_control:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
    output:
        model_input=temp("results/{dataset}/negative_controls/{control}.h5"),
    log:
        "logs/{dataset}/export_negative_control/{control}.log",
    benchmark:
        "results/benchmarks/{dataset}/export_negative_control/{control}.jsonl"
    params:
        code=get_code("export_negative_control"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        genes=lookup("datasets/{dataset}/genes", within=config, default={}),
        max_cells=config["trust"]["max_cells"],
        random_state=config["trust"]["random_state"],
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("run_negative_controls"),
        runtime=get_runtime("run_negative_controls"),
    script:
        "../scripts/export_negative_control.py"


use rule run_model as run_model_on_negative_control with:
    input:
        model_input="results/{dataset}/negative_controls/{control}.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=get_model_environment,
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
        compiled=get_compiled_fit,
        fit=branch(
            lookup("{method}/kind", within=traits),
            cases={"native": []},
            otherwise=fit_file,
        ),
        model_outputs=collect(
            "results/{{dataset}}/{{method}}/negative_controls/{control}.h5",
            control=lookup("{method}/controls", within=traits),
        ),
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        scores="results/{dataset}/{method}/negative_controls.json",
    log:
        "logs/{dataset}/{method}/run_negative_controls.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/run_negative_controls.jsonl"
    params:
        code=get_method_code("run_negative_controls", *(f"veloshard/kinetics/methods/{name}" for name in REFERENCES)),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        genes=lookup("datasets/{dataset}/genes", within=config, default={}),
        method=lookup("methods/{method}", within=config),
        references=REFERENCES,
        controls=lookup("{method}/controls", within=traits),
        controls_option=lookup("{method}/controls_option", within=traits),
        sqrt_transform=lookup("{method}/sqrt_transform", within=traits),
        scale_genes=lookup("{method}/scale_genes", within=traits),
        max_cells=config["trust"]["max_cells"],
        random_state=config["trust"]["random_state"],
    conda:
        "../../envs/core.yaml"
    threads: get_threads("run_negative_controls")
    resources:
        mem_mb=get_memory("run_negative_controls"),
        runtime=get_runtime("run_negative_controls"),
    script:
        "../scripts/run_negative_controls.py"


rule compute_verdict:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        quality="results/{dataset}/qc.json",
        embedding="results/{dataset}/embedding.h5",
        velocity_embedding="results/{dataset}/{method}/velocity_embedding.h5",
        pseudotime="results/{dataset}/{method}/pseudotime.h5",
        controls="results/{dataset}/{method}/negative_controls.json",
    output:
        verdict="results/{dataset}/{method}/trust.json",
    log:
        "logs/{dataset}/{method}/compute_verdict.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/compute_verdict.jsonl"
    params:
        code=get_code("compute_verdict"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        root=lookup("datasets/{dataset}/root", within=config, default=""),
        expected=lookup("datasets/{dataset}/expected", within=config, default=[]),
        unspliced=[config["quality"][f"{end}_unspliced_fraction"] for end in ("min", "max")],
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=get_runtime("read_annotations"),
    script:
        "../scripts/compute_verdict.py"


# after all other rules, so that all results are complete if it fails
rule require_verdict:
    input:
        get_requested_results(),
        verdicts=collect("results/{dataset}/{method}/trust.json", dataset=config["datasets"], method=traits),
    output:
        marker=touch("results/verdicts_accepted.txt"),
    log:
        "logs/require_verdict.log",
    params:
        code=get_code("require_verdict"),
        least=config["trust"].get("fail_below"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/require_verdict.py"
