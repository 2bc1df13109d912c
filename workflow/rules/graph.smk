"""The velocity graph: one job a shard of cells, put together by a merge."""


def stabilizes_variance(wildcards):
    """Whether correlations are taken of square roots."""
    chosen = config["graph"]["variance_stabilization"]
    return method_options(wildcards)["method"] == "stochastic" if chosen == "auto" else chosen


def graph_memory(wildcards, input, attempt):
    """Moments of all cells twice, and edges to neighbours of neighbours."""
    sizes = sizes_of(input)
    edges = 30 * sizes["n_edges"] * min(1, config["graph"]["cells_per_shard"] / sizes["n_cells"])
    return megabytes(12 * sizes["n_cells"] * sizes["n_genes"] + 12 * edges, attempt)


def merged_graph_memory(wildcards, input, attempt):
    """All edges, and what is made of them."""
    return megabytes(30 * 30 * sizes_of(input)["n_edges"], attempt)


rule build_graph:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        fit="results/{dataset}/{method}/fit.h5",
    output:
        "results/{dataset}/{method}/graph_shards/{cells}.h5",
    log:
        "logs/{dataset}/{method}/build_graph/{cells}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/build_graph/{cells}.jsonl"
    params:
        code=code_of("build_graph"),
        sqrt_transform=stabilizes_variance,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=graph_memory,
        runtime=120,
    script:
        "../scripts/build_graph.py"


def graph_shards(wildcards):
    """Graph shards of a result: as many as its dataset's number of cells asks for."""
    sizes = json.loads(Path(checkpoints.prepare_data.get(dataset=wildcards.dataset).output.sizes).read_text())
    n_shards = -(-sizes["n_cells"] // config["graph"]["cells_per_shard"])
    folder = f"results/{wildcards.dataset}/{wildcards.method}/graph_shards"
    return [f"{folder}/{number}-of-{n_shards}.h5" for number in range(1, n_shards + 1)]


rule merge_graphs:
    input:
        sizes="results/{dataset}/sizes.json",
        shards=graph_shards,
    output:
        "results/{dataset}/{method}/graph.h5",
    log:
        "logs/{dataset}/{method}/merge_graphs.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/merge_graphs.jsonl"
    params:
        code=code_of("merge_graphs"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=merged_graph_memory,
        runtime=30,
    script:
        "../scripts/merge_graphs.py"
