"""Other people's models: each a program in an environment of its own, between a file that we write and one that we read."""


rule export_model_input:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
    output:
        temp("results/{dataset}/model_input.h5"),
    log:
        "logs/{dataset}/export_model_input.log",
    benchmark:
        "results/benchmarks/{dataset}/export_model_input.jsonl"
    params:
        code=code_of("export_model_input"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=export_memory,
        runtime=layers_time,
    script:
        "../scripts/export_model_input.py"


rule run_model:
    input:
        cells="results/{dataset}/model_input.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=model_environment,
    output:
        result="results/{dataset}/{method}/model_output.h5",
        samples="results/{dataset}/{method}/posterior_samples.h5",
        folder=directory("results/{dataset}/{method}/model"),
    log:
        "logs/{dataset}/{method}/run_model.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/run_model.jsonl"
    params:
        code=model_code,
        command=command_for("../scripts/run_model.py"),
        model=model_of,
        options=model_options,
    wildcard_constraints:
        method=one_of(model_methods()),
    conda:
        model_yaml
    container:
        None
    threads: model_threads
    resources:
        mem_mb=model_memory,
        runtime=model_time,
    shell:
        "{params.command} --model {params.model} --cells {input.cells:q} --options {params.options:q}"
        " --result {output.result:q} --samples {output.samples:q} --folder {output.folder:q} > {log:q} 2>&1"
        " || {{ tail -n 1 {log:q} >&2; exit 1; }}"


rule import_model_output:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        model="results/{dataset}/{method}/model_output.h5",
    output:
        "results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/import_model_output.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/import_model_output.jsonl"
    params:
        code=code_of("import_model_output"),
    wildcard_constraints:
        method=one_of(model_methods()),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=import_memory,
        runtime=layers_time,
    script:
        "../scripts/import_model_output.py"


rule score_posterior:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        fit="results/{dataset}/{method}/fit.h5",
        samples="results/{dataset}/{method}/posterior_samples.h5",
    output:
        "results/{dataset}/{method}/posterior_scores.h5",
    log:
        "logs/{dataset}/{method}/score_posterior.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/score_posterior.jsonl"
    params:
        code=code_of("score_posterior"),
        sqrt_transform=stabilizes_variance,
        scale_genes=scales_genes,
    conda:
        "../../envs/core.yaml"
    threads: samples_threads
    resources:
        mem_mb=samples_memory,
        runtime=samples_time,
    script:
        "../scripts/score_posterior.py"
