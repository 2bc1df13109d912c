"""From the velocity graph to arrows, scores and times of the cells, and to the file that users open."""


def analysis_memory(wildcards, input, attempt):
    """The velocity graph several times over, as transition matrices."""
    return megabytes(60 * 30 * sizes_of(input)["n_edges"], attempt)


def confidence_memory(wildcards, input, attempt):
    """Velocities of all cells, twice."""
    sizes = sizes_of(input)
    return megabytes(10 * sizes["n_cells"] * sizes["n_genes"], attempt)


def order_memory(wildcards, input, attempt):
    """The velocity graph several times over, and the gene-wise times of all cells."""
    sizes = sizes_of(input)
    return megabytes(60 * 30 * sizes["n_edges"] + 24 * sizes["n_cells"] * sizes["n_genes"], attempt)


def root_of(wildcards):
    """Cluster in which a dataset's process starts, '' for none."""
    return dataset_options(wildcards).get("root", "")


def reported_options(wildcards):
    """The options that decided a result: what its file says of its making."""
    return {
        "dataset_name": wildcards.dataset,
        "method_name": wildcards.method,
        "dataset": dataset_options(wildcards),
        "preprocess": config["preprocess"],
        "method": method_options(wildcards),
        "variance_stabilization": config["graph"]["variance_stabilization"],
    }


rule project_velocity:
    input:
        embedding="results/{dataset}/embedding.h5",
        sizes="results/{dataset}/sizes.json",
        graph="results/{dataset}/{method}/graph.h5",
    output:
        "results/{dataset}/{method}/projection.h5",
    log:
        "logs/{dataset}/{method}/project_velocity.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/project_velocity.jsonl"
    params:
        code=code_of("project_velocity"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=60,
    script:
        "../scripts/project_velocity.py"


rule score_confidence:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
    output:
        "results/{dataset}/{method}/confidence.h5",
    log:
        "logs/{dataset}/{method}/score_confidence.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/score_confidence.jsonl"
    params:
        code=code_of("score_confidence"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=confidence_memory,
        runtime=60,
    script:
        "../scripts/score_confidence.py"


rule order_cells:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
        graph="results/{dataset}/{method}/graph.h5",
    output:
        "results/{dataset}/{method}/time.h5",
    log:
        "logs/{dataset}/{method}/order_cells.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/order_cells.jsonl"
    params:
        code=code_of("order_cells"),
        clusters=clusters_of,
        root=root_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=order_memory,
        runtime=120,
    script:
        "../scripts/order_cells.py"


rule assemble_result:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
        graph="results/{dataset}/{method}/graph.h5",
        embedding="results/{dataset}/embedding.h5",
        quality="results/{dataset}/qc.json",
        projection="results/{dataset}/{method}/projection.h5",
        confidence="results/{dataset}/{method}/confidence.h5",
        time="results/{dataset}/{method}/time.h5",
    output:
        result="results/{dataset}/{method}/velocity.h5ad",
        genes="results/{dataset}/{method}/genes.csv",
        cells="results/{dataset}/{method}/cells.csv",
    log:
        "logs/{dataset}/{method}/assemble_result.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/assemble_result.jsonl"
    params:
        code=code_of("assemble_result"),
        clusters=clusters_of,
        options=reported_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=analysis_memory,
        runtime=60,
    script:
        "../scripts/assemble_result.py"
