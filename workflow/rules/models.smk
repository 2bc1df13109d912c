"""Models of other groups, which run in their own environments, read model_input.h5 and write model_output.h5."""


rule export_model_input:
    input:
        counts="results/{dataset}/counts.h5ad",
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
    output:
        model_input=temp("results/{dataset}/model_input.h5"),
    log:
        "logs/{dataset}/export_model_input.log",
    benchmark:
        "results/benchmarks/{dataset}/export_model_input.jsonl"
    params:
        code=get_code("export_model_input"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("export_model_input"),
        runtime=get_runtime("export_model_input"),
    script:
        "../scripts/export_model_input.py"


rule run_model:
    input:
        model_input="results/{dataset}/model_input.h5",
        sizes="results/{dataset}/prepared_sizes.json",
        environment=get_model_environment,
    output:
        result="results/{dataset}/{method}/model_output.h5",
        samples="results/{dataset}/{method}/posterior_samples.h5",
        folder=directory("results/{dataset}/{method}/model"),
    log:
        "logs/{dataset}/{method}/run_model.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/run_model.jsonl"
    params:
        code=get_model_code,
        command=get_command("../scripts/run_model.py"),
        model=lookup("{method}/method", within=traits),
        options=get_model_options,
    wildcard_constraints:
        method=get_pattern(get_methods("kind", "model")),
    conda:
        get_model_yaml
    container:
        None
    threads: lookup("{method}/threads", within=traits)
    resources:
        mem_mb=get_memory("run_model"),
        runtime=get_runtime("run_model"),
    shell:
        "{params.command} --model {params.model} --cells {input.model_input:q} --options {params.options:q}"
        " --result {output.result:q} --samples {output.samples:q} --folder {output.folder:q} > {log:q} 2>&1"
        " || {{ tail -n 1 {log:q} >&2; exit 1; }}"


rule import_model_output:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        model="results/{dataset}/{method}/model_output.h5",
    output:
        fit="results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/import_model_output.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/import_model_output.jsonl"
    params:
        code=get_code("import_model_output"),
    wildcard_constraints:
        method=get_pattern(get_methods("kind", "model")),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("import_model_output"),
        runtime=get_runtime("import_model_output"),
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
        scores="results/{dataset}/{method}/posterior_scores.h5",
    log:
        "logs/{dataset}/{method}/score_posterior.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/score_posterior.jsonl"
    params:
        code=get_code("score_posterior"),
        sqrt_transform=lookup("{method}/sqrt_transform", within=traits),
        scale_genes=lookup("{method}/scale_genes", within=traits),
    conda:
        "../../envs/core.yaml"
    threads: get_threads("score_posterior")
    resources:
        mem_mb=get_memory("score_posterior"),
        runtime=get_runtime("score_posterior"),
    script:
        "../scripts/score_posterior.py"
