"""What rules are given: inputs that depend on the data, and the options that decide what they do."""


def dataset_options(wildcards):
    """Options of a dataset."""
    return config["datasets"][wildcards.dataset]


def chosen_options(wildcards, *keys):
    """Those of a dataset's options that it has among `keys`."""
    return {key: value for key, value in dataset_options(wildcards).items() if key in keys}


def method_options(wildcards):
    """Options of a method's entry, with the `method` that runs."""
    return config["methods"][wildcards.method]


def simulation_options(wildcards):
    """Options of a dataset's simulation."""
    return dataset_options(wildcards)["simulate"]


def source_of(wildcards):
    """Where a dataset's counts are read from."""
    options = dataset_options(wildcards)
    if "simulate" in options:
        return f"results/{wildcards.dataset}/simulated.h5ad"
    if not Path(options["source"]).exists():
        raise WorkflowError(
            f"dataset {wildcards.dataset!r}: there is no file {options['source']!r} (seen from {Path.cwd()}). "
            f"Set datasets.{wildcards.dataset}.source."
        )
    return options["source"]


def ingest_options(wildcards):
    """Options of a dataset by which its source is read."""
    return chosen_options(wildcards, "layers", "pca", "neighbors")


def asked_options(wildcards):
    """Options of a dataset that name what must be in it."""
    return chosen_options(wildcards, "clusters", "root", "embedding", "cells", "genes")


def prepare_options(wildcards):
    """Options by which a dataset is filtered and normalised."""
    return {**config["preprocess"], **chosen_options(wildcards, "cells", "genes", "pca", "neighbors")}


def embedding_options(wildcards):
    """Options of the embedding of a dataset."""
    return {
        "random_state": config["preprocess"]["random_state"],
        **chosen_options(wildcards, "embedding"),
    }


def clusters_of(wildcards):
    """Column of a dataset with its clusters, '' for none."""
    return dataset_options(wildcards).get("clusters", "")


def fit_code(wildcards):
    """Hash of the code that fits by this method."""
    return code_of("fit_genes", f"methods/{method_options(wildcards)['method']}")


def stabilizes_variance(wildcards):
    """Whether correlations are taken of square roots."""
    chosen = config["graph"]["variance_stabilization"]
    return method_options(wildcards)["method"] == "stochastic" if chosen == "auto" else chosen


def graph_shards(wildcards):
    """Graph shards of a result: as many as its dataset's number of cells asks for."""
    sizes = json.loads(Path(checkpoints.prepare_data.get(dataset=wildcards.dataset).output.sizes).read_text())
    n_shards = -(-sizes["n_cells"] // config["graph"]["cells_per_shard"])
    folder = f"results/{wildcards.dataset}/{wildcards.method}/graph_shards"
    return [f"{folder}/{number}-of-{n_shards}.h5" for number in range(1, n_shards + 1)]


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


def figure_options(wildcards):
    """Options of one figure."""
    chosen = {"phase_portraits": ("genes", "n_genes")}.get(wildcards.figure, ())
    return {key: config["figures"][key] for key in chosen}


def figure_style(wildcards):
    """Look of all figures."""
    return {key: config["figures"][key] for key in ("panel_size", "dpi", "font_size", "palette")}


def figure_code(wildcards):
    """Hash of the code that draws this figure."""
    return code_of("draw_figure", f"figures/{wildcards.figure}")
