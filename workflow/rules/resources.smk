"""Memory, time and processors of each rule, from the size of what it will hold and the attempt; disk of a whole run."""

import math
import shutil


def sizes_of(input):
    """Numbers of cells, genes, counts and, once a dataset is prepared, edges: from the small file beside its data."""
    return json.loads(Path(input.sizes).read_text())


def megabytes(n_bytes, attempt):
    """Memory to ask for: the data, what Python and its libraries take, Snakemake's own in a cluster job; more each time."""
    return int((700 + 1.2 * n_bytes / 1e6) * 1.5 ** (attempt - 1))


def minutes(seconds, attempt):
    """Time to ask for: ten times what a core of 2023 needs, three times what is beyond ten minutes; more each time."""
    return math.ceil((10 + min(10 * seconds, 4200 + 3 * seconds) / 60) * attempt)


def size_of_source(wildcards, input):
    """Bytes of all files that a dataset is read from."""
    return sum(Path(file).stat().st_size for file in files_of_source(wildcards) or input.source)


def genes_in_shard(wildcards, sizes):
    """Genes of the largest shard of the split that a wildcard like 2-of-5 speaks of."""
    return -(-sizes["n_genes"] // int(wildcards.gene_shard.split("-of-")[1]))


def cells_in_shard(wildcards, sizes):
    """Cells of the largest shard of the split that a wildcard like 2-of-5 speaks of."""
    return -(-sizes["n_cells"] // int(wildcards.cell_shard.split("-of-")[1]))


def edges_of_graph(n_edges):
    """Edges of the velocity graph of neighbors and their neighbors, which is at most this much denser."""
    return 30 * n_edges


def simulation_memory(wildcards, attempt):
    """Dense matrices of the truth, a handful at a time."""
    options = simulation_options(wildcards)
    return megabytes(100 * options["n_cells"] * options["n_genes"], attempt)


def ingest_memory(wildcards, input, attempt):
    """Twice the counts, of files that may be compressed, but for those of plain text."""
    files = files_of_source(wildcards) or input.source
    plain = all(Path(file).suffix in (".mtx", ".tsv", ".txt", ".json") for file in files)
    return megabytes((2 if plain else 10) * size_of_source(wildcards, input), attempt)


def ingest_time(wildcards, input, attempt):
    """Reading, checking and hashing a file that may be compressed."""
    return minutes(size_of_source(wildcards, input) / 2e6, attempt)


def check_memory(wildcards, input, attempt):
    """Annotations of the cells and genes."""
    sizes = sizes_of(input)
    return megabytes(2000 * (sizes["n_cells"] + sizes["n_genes"]), attempt)


def prepare_memory(wildcards, input, attempt):
    """Several copies of the counts; the neighbor search adds a block of distances."""
    return megabytes(120 * sizes_of(input)["n_counts"] + 1e9, attempt)


def prepare_time(wildcards, input, attempt):
    """An exact search for neighbors compares all pairs of cells."""
    sizes = sizes_of(input)
    return minutes(1e-6 * sizes["n_counts"] + 3e-8 * sizes["n_cells"] ** 2, attempt)


def embedding_memory(wildcards, input, attempt):
    """The prepared data, and the neighbor graph a few times over."""
    sizes = sizes_of(input)
    return megabytes(24 * sizes["n_counts"] + 100 * sizes["n_edges"], attempt)


def embedding_time(wildcards, input, attempt):
    """A UMAP, some 200 turns over all edges."""
    return minutes(2e-3 * sizes_of(input)["n_cells"], attempt)


def annotations_memory(wildcards, input, attempt):
    """Annotations and embeddings of the cells."""
    return megabytes(2000 * sizes_of(input)["n_cells"], attempt)


def annotations_time(wildcards, input, attempt):
    """Tables and figures of the cells."""
    return minutes(1e-3 * sizes_of(input)["n_cells"], attempt)


def fit_memory(wildcards, input, attempt):
    """Moments and layers of the shard's genes, and the neighbor graph."""
    sizes = sizes_of(input)
    # two moments, five layers and working copies of single precision; indices and weights of an edge
    return megabytes(40 * sizes["n_cells"] * genes_in_shard(wildcards, sizes) + 40 * sizes["n_edges"], attempt)


def fit_seconds(wildcards, sizes):
    """The slowest solver's time for the shard on one core."""
    return 5e-6 * sizes["n_cells"] * genes_in_shard(wildcards, sizes)


def fit_threads(wildcards, input):
    """A core for each two minutes of work, four at most; one until the sizes are known."""
    if not Path(input.sizes).exists():
        return 1
    return max(1, min(4, round(fit_seconds(wildcards, sizes_of(input)) / 120)))


def fit_time(wildcards, input, attempt):
    """That of one core: however many there are."""
    return minutes(fit_seconds(wildcards, sizes_of(input)), attempt)


def merge_memory(wildcards, input, attempt):
    """The largest shard, and the tables of all genes."""
    sizes = sizes_of(input)
    return megabytes(25 * sizes["n_cells"] * -(-sizes["n_genes"] // len(input.shards)) + 40 * sizes["n_edges"], attempt)


def layers_time(wildcards, input, attempt):
    """Reading and writing all layers of a fit."""
    sizes = sizes_of(input)
    return minutes(1e-6 * sizes["n_cells"] * sizes["n_genes"], attempt)


def graph_memory(wildcards, input, attempt):
    """Moments of all cells, as they are and scaled, velocities, and edges to neighbors of neighbors."""
    sizes = sizes_of(input)
    edges = edges_of_graph(sizes["n_edges"]) * cells_in_shard(wildcards, sizes) / sizes["n_cells"]
    return megabytes(16 * sizes["n_cells"] * sizes["n_genes"] + 12 * edges, attempt)


def graph_time(wildcards, input, attempt):
    """A cosine over the genes for each edge of the shard; moments of all cells."""
    sizes = sizes_of(input)
    edges = edges_of_graph(sizes["n_edges"]) * cells_in_shard(wildcards, sizes) / sizes["n_cells"]
    return minutes((5e-10 * edges + 1e-7 * sizes["n_cells"]) * sizes["n_genes"], attempt)


def merged_graph_memory(wildcards, input, attempt):
    """All edges, and what is made of them."""
    return megabytes(30 * edges_of_graph(sizes_of(input)["n_edges"]), attempt)


def analysis_memory(wildcards, input, attempt):
    """The velocity graph several times over, as transition matrices."""
    return megabytes(60 * edges_of_graph(sizes_of(input)["n_edges"]), attempt)


def analysis_time(wildcards, input, attempt):
    """Solvers and powers of transition matrices."""
    return minutes(2e-6 * edges_of_graph(sizes_of(input)["n_edges"]), attempt)


def confidence_memory(wildcards, input, attempt):
    """Velocities of all cells twice, and moments where genes are scaled."""
    sizes = sizes_of(input)
    return megabytes(18 * sizes["n_cells"] * sizes["n_genes"], attempt)


def order_memory(wildcards, input, attempt):
    """The velocity graph several times over, and the gene-wise times of all cells."""
    sizes = sizes_of(input)
    return megabytes(60 * edges_of_graph(sizes["n_edges"]) + 24 * sizes["n_cells"] * sizes["n_genes"], attempt)


def kinetics_memory(wildcards, input, attempt):
    """All counts of the kept genes; blocks of genes."""
    sizes = sizes_of(input)
    return megabytes(40 * sizes["n_counts"] + 1500 * sizes["n_cells"] + 40 * sizes["n_edges"], attempt)


def kinetics_time(wildcards, input, attempt):
    """The nearest point of a curve for each gene and cell."""
    sizes = sizes_of(input)
    return minutes(1e-6 * sizes["n_cells"] * sizes["n_genes"], attempt)


def refit_memory(wildcards, input, attempt):
    """As of a single shard of all genes: at worst all are fitted again."""
    sizes = sizes_of(input)
    return megabytes(40 * sizes["n_cells"] * sizes["n_genes"] + 40 * sizes["n_edges"], attempt)


def refit_threads(wildcards, input):
    """A core for each two minutes of work if a tenth of the genes are fitted again, four at most."""
    if not Path(input.sizes).exists():
        return 1
    sizes = sizes_of(input)
    return max(1, min(4, round(5e-7 * sizes["n_cells"] * sizes["n_genes"] / 120)))


def refit_time(wildcards, input, attempt):
    """That of fitting all genes again, on one core."""
    sizes = sizes_of(input)
    return minutes(5e-6 * sizes["n_cells"] * sizes["n_genes"], attempt)


def ranking_memory(wildcards, input, attempt):
    """Blocks of genes; all neighbors' neighbors of some thousand cells."""
    sizes = sizes_of(input)
    return megabytes(16 * sizes["n_counts"] + 100 * sizes["n_edges"] + 1e9, attempt)


def ranking_time(wildcards, input, attempt):
    """A likelihood of each gene in each cell, and pairs of neighborhoods."""
    sizes = sizes_of(input)
    return minutes(1e-6 * sizes["n_cells"] * sizes["n_genes"] + 1e-5 * sizes["n_edges"], attempt)


def cell_cycle_memory(wildcards, input, attempt):
    """All counts, normalized and as logarithms."""
    return megabytes(30 * sizes_of(input)["n_counts"], attempt)


def cell_cycle_time(wildcards, input, attempt):
    """A few passes over all counts."""
    return minutes(1e-6 * sizes_of(input)["n_counts"], attempt)


def control_cells(sizes):
    """Cells that controls are run on."""
    return min(sizes["n_cells"], config["trust"]["max_cells"])


def controls_memory(wildcards, input, attempt):
    """The prepared data, and for the sampled cells their graph, and the layers of three fits and their copies."""
    sizes = sizes_of(input)
    sampled = control_cells(sizes) * (160 * sizes["n_genes"] + 12 * edges_of_graph(sizes["n_edges"]) / sizes["n_cells"])
    return megabytes(40 * sizes["n_counts"] + 30 * sizes["n_edges"] + sampled, attempt)


def controls_seconds(sizes):
    """Four fits of the sampled cells by the slowest solver, on one core; reading of the counts."""
    return 2e-5 * control_cells(sizes) * sizes["n_genes"] + 1e-6 * sizes["n_counts"]


def controls_threads(wildcards, input):
    """A core for each two minutes of work, four at most; one until the sizes are known."""
    if not Path(input.sizes).exists():
        return 1
    return max(1, min(4, round(controls_seconds(sizes_of(input)) / 120)))


def controls_time(wildcards, input, attempt):
    """That of one core: however many there are."""
    return minutes(controls_seconds(sizes_of(input)), attempt)


def comparison_memory(wildcards, input, attempt):
    """Products of the velocities of each pair of methods, neighbors of a cell, and blocks of genes."""
    sizes, n_methods = sizes_of(input), len(config["methods"]) + 1
    pairs = n_methods * (n_methods - 1) / 2
    # blocks are of at least one gene, and ranks are of 2000 cells
    velocities = n_methods * (2e7 + 16 * sizes["n_cells"] + 8000 * sizes["n_genes"])
    return megabytes(32 * pairs * sizes["n_cells"] + 60 * sizes["n_edges"] + velocities, attempt)


def comparison_time(wildcards, input, attempt):
    """A few products for each pair of methods, cell and gene, and one for each pair of neighbors and gene."""
    sizes, n_methods = sizes_of(input), len(config["methods"]) + 1
    products = n_methods * (n_methods - 1) / 2 * sizes["n_cells"] + n_methods * sizes["n_edges"]
    return minutes(2e-8 * products * sizes["n_genes"], attempt)


def order_time(wildcards, input, attempt):
    """Powers of transition matrices; percentiles over the genes for four roots, and of 10,000 cells for each cluster."""
    sizes = sizes_of(input)
    per_cell = 1e-6 * sizes["n_genes"]
    return minutes(2e-6 * edges_of_graph(sizes["n_edges"]) + per_cell * (sizes["n_cells"] + 50 * 10_000), attempt)


def field_controls(wildcards, sizes):
    """Control points of a field: as many as the config says, or as the library takes."""
    return field_options(wildcards).get("n_controls", min(max(sizes["n_cells"] // 20 + 1, 100), 2000))


def field_memory(wildcards, input, attempt):
    """The walk between the cells, and features of the cells: a gigabyte of them at most, and a block of 4096 a thread."""
    sizes = sizes_of(input)
    controls = field_controls(wildcards, sizes)
    blocks = field_threads(wildcards, input) * (1e5 * controls + 8 * controls**2)
    features = min(8 * sizes["n_cells"] * controls, 1.1e9) + blocks + 80 * controls**2
    walk = 60 * edges_of_graph(sizes["n_edges"])
    return megabytes(walk + features + (500 + 60 * config["preprocess"]["n_pcs"]) * sizes["n_cells"], attempt)


def field_seconds(wildcards, sizes):
    """Thirty times the products of all features, on one core; the eigenvectors of their kernels."""
    controls = field_controls(wildcards, sizes)
    return 1.2e-9 * sizes["n_cells"] * controls**2 + 4e-9 * controls**3


def field_threads(wildcards, input):
    """A core for each two minutes of work, four at most; one until the sizes are known."""
    if not Path(input.sizes).exists():
        return 1
    return max(1, min(4, round(field_seconds(wildcards, sizes_of(input)) / 120)))


def field_time(wildcards, input, attempt):
    """That of one core, and of five sets of control points: however many there are."""
    sizes = sizes_of(input)
    return minutes(5 * field_seconds(wildcards, sizes) + 2e-6 * edges_of_graph(sizes["n_edges"]), attempt)


def portrait_memory(wildcards, input, attempt):
    """Components of the cells several times over, the neighbor graph, kernels and Jacobians of a block of cells."""
    sizes, n_dims = sizes_of(input), config["preprocess"]["n_pcs"]
    block = 1e5 * field_controls(wildcards, sizes) + (5e4 + 8 * field_controls(wildcards, sizes)) * n_dims**2
    return megabytes((1000 + 80 * n_dims) * sizes["n_cells"] + 100 * sizes["n_edges"] + block, attempt)


def portrait_time(wildcards, input, attempt):
    """Derivatives at each cell."""
    return minutes(60 + 5e-3 * sizes_of(input)["n_cells"], attempt)


def courses_time(wildcards, input, attempt):
    """Some hundred evaluations of the field and a search among all cells for each cell that is followed."""
    asked = trajectories_of(wildcards)
    n_courses = len(asked["clusters"]) * asked["n_cells"]
    return minutes(60 + n_courses * (0.1 + 2e-5 * sizes_of(input)["n_cells"]), attempt)


def paths_time(wildcards, input, attempt):
    """A thousand evaluations of the field and its derivative for each path, some 10 ms each."""
    return minutes(60 + 30 * len(paths_of(wildcards)) + 5e-3 * sizes_of(input)["n_cells"], attempt)


def seeks_states(wildcards):
    """Whether the terminal states of a dataset are sought: by a dense decomposition of all pairs of cells."""
    return "terminal_states" not in dataset_options(wildcards)


def fate_memory(wildcards, input, attempt):
    """Dense layers of the result, and a sparse decomposition of the walk or dense ones, ten times over."""
    sizes = sizes_of(input)
    pair = 80 if seeks_states(wildcards) else 3
    return megabytes(60 * sizes["n_cells"] * sizes["n_genes"] + pair * sizes["n_cells"] ** 2, attempt)


def fate_time(wildcards, input, attempt):
    """Cosines to the neighbors, and the decomposition."""
    sizes = sizes_of(input)
    cubed = (5e-10 if seeks_states(wildcards) else 1e-12) * sizes["n_cells"] ** 3
    return minutes(30 + 3e-6 * sizes["n_cells"] * sizes["n_genes"] + cubed, attempt)


def export_memory(wildcards, input, attempt):
    """The prepared data, the counts as they were read, and moments of all cells."""
    sizes = sizes_of(input)
    return megabytes(80 * sizes["n_counts"] + 16 * sizes["n_cells"] * sizes["n_genes"] + 40 * sizes["n_edges"], attempt)


def import_memory(wildcards, input, attempt):
    """What the model returned, the same in the order of the dataset's genes, and moments of all cells."""
    sizes = sizes_of(input)
    return megabytes(3 * Path(input.model).stat().st_size + 28 * sizes["n_cells"] * sizes["n_genes"], attempt)


def external_memory(wildcards, input, attempt):
    """A file that may be compressed, what is taken of it, and moments of all cells."""
    sizes, size = sizes_of(input), Path(input.source).stat().st_size
    return megabytes(12 * size + 40 * sizes["n_cells"] * sizes["n_genes"] + 24 * sizes["n_counts"], attempt)


def external_time(wildcards, input, attempt):
    """Reading a table of text, and moments of all cells."""
    sizes = sizes_of(input)
    return minutes(Path(input.source).stat().st_size / 2e6 + 1e-6 * sizes["n_cells"] * sizes["n_genes"], attempt)


def dynamo_memory(wildcards, input, attempt):
    """The prepared data twice, and a block of genes at a time."""
    sizes = sizes_of(input)
    return megabytes(48 * sizes["n_counts"] + 40 * sizes["n_edges"] + 1000 * sizes["n_cells"], attempt)


def needs_of_model(wildcards, input):
    """What a model says that it needs, and how many entries its matrices have: on a control those of its cells."""
    sizes = sizes_of(input)
    n_cells = control_cells(sizes) if "control" in wildcards.keys() else sizes["n_cells"]
    return models[model_of(wildcards)]["resources"], n_cells * sizes["n_genes"]


def model_memory(wildcards, input, attempt):
    """What the model's libraries take, and its matrices."""
    needs, entries = needs_of_model(wildcards, input)
    return megabytes(1e6 * needs["megabytes"] + needs["bytes_per_entry"] * entries, attempt)


def model_time(wildcards, input, attempt):
    """That of one core without an accelerator."""
    needs, entries = needs_of_model(wildcards, input)
    return minutes(needs["seconds"] + needs["seconds_per_entry"] * entries, attempt)


def model_threads(wildcards):
    """What the model says: its results may depend on their number."""
    return models[model_of(wildcards)]["resources"].get("threads", 1)


def samples_memory(wildcards, input, attempt):
    """A sample of the velocities, their mean and what is between them in double precision; the graph of some cells."""
    sizes = sizes_of(input)
    cells = min(sizes["n_cells"], 20_000)
    edges = edges_of_graph(sizes["n_edges"]) * cells / sizes["n_cells"]
    return megabytes(50 * sizes["n_cells"] * sizes["n_genes"] + 30 * edges, attempt)


def samples_seconds(wildcards, sizes):
    """A velocity graph for each sample, on one core."""
    n_samples = method_options(wildcards)["n_samples"]
    return 5e-10 * n_samples * edges_of_graph(sizes["n_edges"]) * sizes["n_genes"]


def samples_threads(wildcards, input):
    """A core for each two minutes of work, four at most; one until the sizes are known."""
    if not Path(input.sizes).exists():
        return 1
    return max(1, min(4, round(samples_seconds(wildcards, sizes_of(input)) / 120)))


def samples_time(wildcards, input, attempt):
    """That of one core: however many there are."""
    return minutes(samples_seconds(wildcards, sizes_of(input)), attempt)


def shape_of_source(options):
    """Cells and genes of a dataset before any are left out, None where that cannot be told at a glance."""
    if "simulate" in options:
        return options["simulate"]["n_cells"], options["simulate"]["n_genes"]
    import h5py  # not for the jobs, which read these files again

    try:
        with h5py.File(options["source"]) as file:
            return tuple(file[table][file[table].attrs["_index"]].shape[0] for table in ("obs", "var"))
    except (KeyError, OSError, TypeError):
        return None


def disk_of_dataset(options):
    """Bytes that all results of a dataset will take, shards that are there for a while included; roughly."""
    shape = shape_of_source(options)
    if shape is None:
        paths = options.get("samples", {"": options.get("source")}).values()
        n_bytes = sum(Path(file).stat().st_size for path in paths for file in files_below(Path(path)))
        return 10 * n_bytes * len(config["methods"])
    n_cells, n_genes = shape
    n_genes = min(n_genes, config["preprocess"]["n_top_genes"])
    # counts and what is kept of them: a fifth of all entries, twice 8 bytes
    counts, graph, figures = 3.2 * n_cells * n_genes, 6400 * n_cells, 2e7
    total = 2 * counts
    for_dynamo = 12 * n_cells * n_genes + 2 * counts if config["dynamo"] else 0
    for method in config["methods"].values():
        n_layers = 1
        if method["method"] == "dynamical":
            n_layers = 5
        elif method["method"] in models:  # its result, as it comes and as a fit, and the samples
            n_layers = 5 + method.get("n_samples", 0) / 3
        total += 4 * n_cells * n_genes * (3 * n_layers + 2) + counts + graph + figures + for_dynamo
    return total


def tell_disk():
    """Say before the first job how much space a run from nothing takes, and warn where there is less."""
    total = sum(disk_of_dataset(options) for options in config["datasets"].values())
    free = shutil.disk_usage(Path.cwd()).free
    logger.info(
        f"Results of {len(config['datasets'])} datasets x {len(config['methods'])} methods take about "
        f"{total / 1e9:.1f} GB in all; {free / 1e9:.1f} GB are free."
    )
    if total > free:
        logger.warning("That may be too little space. Jobs that find none fail, and a rerun goes on from there.")
