"""Memory of each rule, in megabytes, from the size of what it will hold and the attempt."""


def sizes_of(input):
    """Numbers of cells, genes, edges and counts of a dataset, once it is prepared."""
    return json.loads(Path(input.sizes).read_text())


def megabytes(n_bytes, attempt):
    """Memory to ask for: the data, what Python and its libraries take, and more after each failure."""
    return int((400 + 1.2 * n_bytes / 1e6) * 1.5 ** (attempt - 1))


def simulation_memory(wildcards, attempt):
    """Dense matrices of the truth, a handful at a time."""
    options = simulation_options(wildcards)
    return megabytes(100 * options["n_cells"] * options["n_genes"], attempt)


def ingest_memory(wildcards, input, attempt):
    """Both layers and a copy of each, of a file that may be compressed."""
    return megabytes(10 * Path(input.source).stat().st_size, attempt)


def check_memory(wildcards, input, attempt):
    """Annotations of the cells, surely less than the file."""
    return megabytes(4 * Path(input.counts).stat().st_size, attempt)


def prepare_memory(wildcards, input, attempt):
    """Several copies of the counts; the neighbour search adds a block of distances."""
    return megabytes(20 * Path(input.counts).stat().st_size + 1e9, attempt)


def embedding_memory(wildcards, input, attempt):
    """The prepared data, and the neighbour graph a few times over."""
    sizes = sizes_of(input)
    return megabytes(24 * sizes["n_counts"] + 100 * sizes["n_edges"], attempt)


def annotations_memory(wildcards, input, attempt):
    """Annotations and embeddings of the cells."""
    return megabytes(2000 * sizes_of(input)["n_cells"], attempt)


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


def graph_memory(wildcards, input, attempt):
    """Moments of all cells twice, and edges to neighbours of neighbours."""
    sizes = sizes_of(input)
    edges = 30 * sizes["n_edges"] * min(1, config["graph"]["cells_per_shard"] / sizes["n_cells"])
    return megabytes(12 * sizes["n_cells"] * sizes["n_genes"] + 12 * edges, attempt)


def merged_graph_memory(wildcards, input, attempt):
    """All edges, and what is made of them."""
    return megabytes(30 * 30 * sizes_of(input)["n_edges"], attempt)


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
