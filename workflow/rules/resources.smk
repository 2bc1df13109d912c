"""Requested memory, time and threads of jobs, from the size of the data and the attempt; disk space of a run."""

import math
import shutil

# Bytes of memory and seconds on one core of 2023, per unit of each quantity in `get_quantities`. `threads` is the work
# that threads share, if a rule has several.
RESOURCES = {
    # dense matrices of true abundances
    "simulate_counts": {"memory": {"simulated_cell_gene": 100}},
    # twice the counts of text files, ten times those of files that can be compressed
    "ingest_counts": {
        "memory": {"text_byte": 2, "compressed_byte": 10},
        "time": {"text_byte": 1 / 2e6, "compressed_byte": 1 / 2e6},
    },
    "check_options": {"memory": {"cell": 2000, "gene": 2000}},
    # several copies of the counts, and a block of distances; the exact neighbor search compares all pairs of cells
    "prepare_data": {"memory": {"count": 120, "constant": 1e9}, "time": {"count": 1e-6, "cell_pair": 3e-8}},
    # the neighbor graph several times; UMAP's 200 passes over all edges
    "compute_embedding": {"memory": {"count": 24, "edge": 100}, "time": {"cell": 2e-3}},
    # annotations, tables and figures of the cells
    "read_annotations": {"memory": {"cell": 2000}, "time": {"cell": 1e-3}},
    # annotations, and the neighbor graph for moments of genes: 8 bytes per edge, twice while its parts are joined
    "draw_figure": {"memory": {"cell": 2000, "edge": 16}, "time": {"cell": 1e-3}},
    # counts, normalized and logarithmic
    "score_cell_cycle": {"memory": {"count": 30}, "time": {"count": 1e-6}},
    # two moments, five layers and copies in single precision; indices and weights of edges; the slower solver
    "fit_genes": {
        "memory": {"shard_cell_gene": 40, "edge": 40},
        "time": {"shard_cell_gene": 5e-6},
        "threads": {"shard_cell_gene": 5e-6},
    },
    "merge_fits": {"memory": {"shard_cell_gene": 25, "edge": 40}, "time": {"cell_gene": 1e-6}},
    # counts of the kept genes, and blocks of genes; the nearest point on a curve for each gene and cell
    "test_differential_kinetics": {
        "memory": {"count": 40, "cell": 1500, "edge": 40},
        "time": {"cell_gene": 1e-6},
    },
    # as one shard of all genes, of which typically a tenth is fitted again
    "refit_genes": {
        "memory": {"cell_gene": 40, "edge": 40},
        "time": {"cell_gene": 5e-6},
        "threads": {"cell_gene": 5e-7},
    },
    # counts twice, and moments of all cells
    "export_model_input": {"memory": {"count": 80, "cell_gene": 16, "edge": 40}, "time": {"cell_gene": 1e-6}},
    # the model's output, the same in the order of the genes, and moments of all cells
    "import_model_output": {"memory": {"file_byte": 3, "cell_gene": 28}, "time": {"cell_gene": 1e-6}},
    # a velocity graph for each sample; velocities in double precision
    "score_posterior": {
        "memory": {"cell_gene": 50, "scored_graph_edge": 30},
        "time": {"sample_graph_edge_gene": 5e-10},
        "threads": {"sample_graph_edge_gene": 5e-10},
    },
    # a file that can be compressed or text, and moments of all cells
    "import_precomputed": {
        "memory": {"file_byte": 12, "cell_gene": 40, "count": 24},
        "time": {"file_byte": 1 / 2e6, "cell_gene": 1e-6},
    },
    # moments of all cells, as they are and scaled, velocities, and edges; a correlation over the genes for each edge
    "compute_velocity_graph": {
        "memory": {"cell_gene": 16, "shard_graph_edge": 12},
        "time": {"shard_graph_edge_gene": 5e-10, "cell_gene": 1e-7},
    },
    "merge_velocity_graph": {"memory": {"graph_edge": 30}, "time": {"graph_edge": 2e-6}},
    # the velocity graph several times, as transition matrices; solvers and powers of these
    "analyze_graph": {"memory": {"graph_edge": 60}, "time": {"graph_edge": 2e-6}},
    "compute_confidence": {"memory": {"cell_gene": 18}, "time": {"cell_gene": 1e-6}},
    # as `analyze_graph`; percentiles over the genes for four roots, and of 10,000 cells for each of 50 clusters
    "compute_pseudotime": {
        "memory": {"graph_edge": 60, "cell_gene": 24},
        "time": {"graph_edge": 2e-6, "cell_gene": 1e-6, "gene": 1e-6 * 50 * 10_000},
    },
    # blocks of genes, and neighbors of neighbors of some thousand cells
    "rank_genes": {
        "memory": {"count": 16, "edge": 100, "constant": 1e9},
        "time": {"cell_gene": 1e-6, "edge": 1e-5},
    },
    "assemble_result": {"memory": {"graph_edge": 60}, "time": {"cell_gene": 1e-6}},
    "export_dynamo": {"memory": {"count": 48, "edge": 40, "cell": 1000}, "time": {"cell_gene": 1e-6}},
    # three fits of the subsample with their copies, and its graph; four fits by the slower solver
    "run_negative_controls": {
        "memory": {"count": 40, "edge": 30, "subsample_cell_gene": 160, "subsample_graph_edge": 12},
        "time": {"subsample_cell_gene": 2e-5, "count": 1e-6},
        "threads": {"subsample_cell_gene": 2e-5, "count": 1e-6},
    },
    # products of velocities for each pair of methods, blocks of genes, ranks of 2000 cells; the neighbor graph
    "compare_methods": {
        "memory": {"pair_cell": 32, "edge": 60, "method": 2e7, "method_cell": 16, "method_gene": 8000},
        "time": {"pair_cell_gene": 2e-8},
    },
    # products of velocities for each neighbor, blocks of genes
    "summarize_methods": {
        "memory": {"edge": 60, "method": 2e7, "method_cell": 16},
        "time": {"method_edge_gene": 2e-8},
    },
    # layers of the result, and a dense decomposition if terminal states are computed, else a sparse one
    "compute_fate_probabilities": {
        "memory": {"cell_gene": 60, "cell_pair_states_given": 3, "cell_pair_states_computed": 80},
        "time": {
            "constant": 30, "cell_gene": 3e-6, "cell_cubed_states_given": 1e-12, "cell_cubed_states_computed": 5e-10,
        },
    },
    # transition matrices and kernels; thirty products of all kernels, and their eigenvectors, for five sets of points
    "learn_vector_field": {
        "memory": {
            "graph_edge": 60, "kernel_byte": 1, "thread_kernel_byte": 1, "control_point_pair": 80, "cell": 500,
            "cell_pc": 60,
        },
        "time": {"cell_control_point_pair": 5 * 1.2e-9, "control_point_cubed": 5 * 4e-9, "graph_edge": 2e-6},
        "threads": {"cell_control_point_pair": 1.2e-9, "control_point_cubed": 4e-9},
    },
    # kernels and Jacobians of a block of cells; derivatives at each cell
    "analyze_vector_field": {
        "memory": {
            "cell": 1000, "cell_pc": 80, "edge": 100, "control_point": 1e5, "pc_pair": 5e4, "control_point_pc_pair": 8,
        },
        "time": {"constant": 60, "cell": 5e-3},
    },
    # as `analyze_vector_field`; some hundred evaluations and a search among all cells for each trajectory
    "integrate_trajectories": {"time": {"constant": 60, "trajectory": 0.1, "trajectory_cell": 2e-5}},
    # a thousand evaluations of the field and its derivative for each path
    "find_least_action_paths": {"time": {"constant": 60, "path": 30, "cell": 5e-3}},
}  # fmt: skip


def get_quantities(wildcards, input):
    """Return the quantities that resources are proportional to.

    An edge joins two neighbors. The velocity graph also joins neighbors of neighbors, at most 30 times as many edges.
    Sizes are those of the prepared data, or of the counts before preparation.
    """
    options = config["datasets"][wildcards.dataset]
    quantities = {"constant": 1}
    if "simulate" in options:
        quantities["simulated_cell_gene"] = options["simulate"]["n_cells"] * options["simulate"]["n_genes"]
    if "sizes" not in input.keys():
        return quantities
    sizes = json.loads(Path(input.sizes).read_text())
    cells, genes, edges = sizes["n_cells"], sizes["n_genes"], sizes.get("n_edges", 0)
    graph_edges = 30 * edges
    subsample = min(cells, config["trust"]["max_cells"])
    quantities |= {
        "count": sizes["n_counts"],
        "cell": cells,
        "gene": genes,
        "edge": edges,
        "cell_gene": cells * genes,
        "cell_pair": cells**2,
        "graph_edge": graph_edges,
        "subsample_cell_gene": subsample * genes,
        "subsample_graph_edge": graph_edges * subsample / cells,
        # models are also fitted to negative controls
        "fitted_cell_gene": (subsample if "control" in wildcards.keys() else cells) * genes,
        # uncertainty is computed in at most 20,000 cells
        "scored_graph_edge": graph_edges * min(cells, 20_000) / cells,
    }
    states = "states_given" if "terminal_states" in options else "states_computed"
    quantities |= {
        f"cell_{power}_{case}": 0 for power in ("pair", "cubed") for case in ("states_given", "states_computed")
    }
    quantities |= {f"cell_pair_{states}": cells**2, f"cell_cubed_{states}": cells**3}
    n_methods = len(traits) + 1
    n_pairs = n_methods * (n_methods - 1) / 2
    quantities |= {"method": n_methods, "method_cell": n_methods * cells, "method_gene": n_methods * genes}
    quantities |= {"pair_cell": n_pairs * cells, "pair_cell_gene": n_pairs * cells * genes}
    quantities["method_edge_gene"] = n_methods * edges * genes
    n_samples = config["methods"].get(wildcards.get("method"), {}).get("n_samples", 0)
    quantities["sample_graph_edge_gene"] = n_samples * graph_edges * genes
    quantities |= get_shard_sizes(wildcards, input, cells, genes, graph_edges)
    return quantities | get_vector_field_sizes(wildcards, cells)


def get_file_sizes(wildcards, input):
    """Return the sizes of the input files of a job: of a model's output, of precomputed velocities, or of counts."""
    if "sizes" in input.keys():
        return {"file_byte": Path(input.get("model") or input.source).stat().st_size}
    files = [Path(file) for file in get_source_files(wildcards) or input.source]
    is_text = all(file.suffix in MATRIX_SUFFIXES for file in files)
    n_bytes = sum(file.stat().st_size for file in files)
    return {"text_byte": n_bytes if is_text else 0, "compressed_byte": 0 if is_text else n_bytes}


def get_shard_sizes(wildcards, input, cells, genes, graph_edges):
    """Return the sizes of the largest shard of genes or cells."""
    sizes = {}
    if "gene_shard" in wildcards.keys() or "shards" in input.keys():
        shard = wildcards.get("gene_shard")
        n_shards = int(shard.split("-of-")[1]) if shard else len(input.shards)
        sizes["shard_cell_gene"] = cells * -(-genes // n_shards)
    if "cell_shard" in wildcards.keys():
        shard_cells = -(-cells // int(wildcards.cell_shard.split("-of-")[1]))
        sizes["shard_graph_edge"] = graph_edges * shard_cells / cells
        sizes["shard_graph_edge_gene"] = sizes["shard_graph_edge"] * genes
    return sizes


def get_vector_field_sizes(wildcards, cells):
    """Return the sizes of the vector field of a dataset. The default of `n_control_points` is that of the library."""
    options, n_pcs = config["datasets"][wildcards.dataset], config["datasets"][wildcards.dataset]["preprocess"]["n_pcs"]
    requested = options["vector_field"] or {}
    points = requested.get("n_control_points", min(max(cells // 20 + 1, 100), 2000))
    trajectories = requested.get("trajectories", {"clusters": [], "n_cells": 0})
    n_trajectories = len(trajectories["clusters"]) * trajectories["n_cells"]
    return {
        "pc_pair": n_pcs**2,
        "cell_pc": cells * n_pcs,
        "control_point": points,
        "control_point_pair": points**2,
        "control_point_cubed": points**3,
        "control_point_pc_pair": points * n_pcs**2,
        "cell_control_point_pair": cells * points**2,
        # at most a gigabyte of kernels at once, and a block of 4096 cells
        "kernel_byte": min(8 * cells * points, 1.1e9),
        "block_kernel_byte": 1e5 * points + 8 * points**2,
        "trajectory": n_trajectories,
        "trajectory_cell": n_trajectories * cells,
        "path": len(requested.get("paths", ())),
    }


def get_amount(rule, resource, wildcards, input):
    """Return the bytes or seconds of a job, the sum over the quantities in the row of a rule."""
    row = traits[wildcards.method]["resources"] if rule == "run_model" else RESOURCES[rule]
    quantities = get_quantities(wildcards, input)
    if {"file_byte", "text_byte"} & row[resource].keys():
        quantities |= get_file_sizes(wildcards, input)
    if "thread_kernel_byte" in row[resource]:
        quantities["thread_kernel_byte"] = get_threads(rule)(wildcards, input) * quantities["block_kernel_byte"]
    return sum(rate * quantities[name] for name, rate in row[resource].items())


def get_memory(rule):
    """Return a function for `mem_mb`: the data plus Python, its libraries and Snakemake, times 1.5 per retry."""

    def get_megabytes(wildcards, input, attempt):
        n_bytes = get_amount(rule, "memory", wildcards, input)
        return int((700 + 1.2 * n_bytes / 1e6) * 1.5 ** (attempt - 1))

    return get_megabytes


def get_runtime(rule):
    """Return a function for `runtime`, in minutes.

    It is ten minutes plus ten times the expected time up to ten minutes, and three times the rest, times the attempt.
    """

    def get_minutes(wildcards, input, attempt):
        seconds = get_amount(rule, "time", wildcards, input)
        return math.ceil((10 + min(10 * seconds, 4200 + 3 * seconds) / 60) * attempt)

    return get_minutes


def get_threads(rule):
    """Return a function for `threads`: one for each two minutes of work, at most four; one until the sizes are known.

    The requested time is that of one thread, because a smaller machine gives fewer.
    """

    def get_number(wildcards, input):
        if not Path(input.sizes).exists():
            return 1
        return max(1, min(4, round(get_amount(rule, "threads", wildcards, input) / 120)))

    return get_number


def log_disk_space():
    """Log before the first job how much space all results take, and warn if there is less."""
    total, free = estimate_disk(config, traits), shutil.disk_usage(Path.cwd()).free
    logger.info(
        f"Results of {len(config['datasets'])} datasets x {len(traits)} methods take about {total / 1e9:.1f} GB; "
        f"{free / 1e9:.1f} GB are free."
    )
    if total > free:
        logger.warning(
            "The disk space can be too small. Jobs without space fail, and another run continues from there."
        )
