"""What spans genes: kept cells and genes, sizes, components, neighbours."""


def prepare_options(wildcards):
    """Options by which a dataset is filtered, normalised and embedded."""
    own = dataset_options(wildcards)
    chosen = ("cells", "genes", "pca", "neighbors", "embedding")
    return {**config["preprocess"], **{key: own[key] for key in chosen if key in own}}


def clusters_of(wildcards):
    """Column of a dataset with its clusters, '' for none."""
    return dataset_options(wildcards).get("clusters", "")


def prepare_memory(wildcards, input, attempt):
    """Several copies of the counts; the neighbour search adds a block of distances."""
    return megabytes(20 * Path(input.counts).stat().st_size + 1e9, attempt)


# a checkpoint, because the number of cells decides into how many jobs the velocity graph is split
checkpoint prepare_data:
    input:
        counts="results/{dataset}/counts.h5ad",
    output:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        quality="results/{dataset}/qc.json",
    log:
        "logs/{dataset}/prepare_data.log",
    benchmark:
        "results/benchmarks/{dataset}/prepare_data.jsonl"
    params:
        code=code_of("prepare_data"),
        options=prepare_options,
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=prepare_memory,
        runtime=120,
    script:
        "../scripts/prepare_data.py"
