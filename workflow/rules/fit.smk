"""The splicing kinetics of each gene: one job a gene shard, put together by a merge."""


def fit_memory(wildcards, input, attempt):
    """Moments and layers of the shard's genes, and the neighbour graph."""
    sizes = sizes_of(input)
    genes_in_shard = -(-sizes["n_genes"] // config["shards"])
    # two moments, five layers and working copies of single precision; indices and weights of an edge
    return megabytes(40 * sizes["n_cells"] * genes_in_shard + 40 * sizes["n_edges"], attempt)


def merge_memory(wildcards, input, attempt):
    """The largest shard, and the tables of all genes."""
    sizes = sizes_of(input)
    genes_in_shard = -(-sizes["n_genes"] // config["shards"])
    return megabytes(25 * sizes["n_cells"] * genes_in_shard + 40 * sizes["n_edges"], attempt)


def fit_code(wildcards):
    """Hash of the code that fits by this method."""
    return code_of("fit_genes", f"methods/{method_options(wildcards)['method']}")


rule fit_genes:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
    output:
        "results/{dataset}/{method}/shards/{scatteritem}.h5",
    log:
        "logs/{dataset}/{method}/fit_genes/{scatteritem}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/fit_genes/{scatteritem}.jsonl"
    params:
        code=fit_code,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=fit_memory,
        runtime=240,
    script:
        "../scripts/fit_genes.py"


rule merge_fits:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        shards=gather.genes("results/{{dataset}}/{{method}}/shards/{scatteritem}.h5"),
    output:
        "results/{dataset}/{method}/fit.h5",
    log:
        "logs/{dataset}/{method}/merge_fits.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_fits.jsonl"
    params:
        code=fit_code,
        options=method_options,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merge_memory,
        runtime=30,
    script:
        "../scripts/merge_fits.py"
