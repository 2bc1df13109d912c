"""Estimate of the disk space that the results of a run take."""

from pathlib import Path

from veloshard_planning.sources import files_below


def estimate_disk(config, traits):
    """Return the bytes that the results of all datasets take together, with the shards that exist for a while.

    Parameters
    ----------
    config : dict
        The complete config.
    traits : dict of str to dict
        Traits of the methods, by name.
    """
    return sum(_estimate_dataset(options, config, traits) for options in config["datasets"].values())


def _estimate_dataset(options, config, traits):
    shape = _shape_of_source(options)
    if shape is None:
        paths = options.get("samples", {"": options.get("source")}).values()
        files = [Path(file) for path in paths for file in files_below(path)]
        return 10 * sum(file.stat().st_size for file in files if file.exists()) * len(traits)
    n_cells, n_genes = shape
    n_genes = min(n_genes, options["preprocess"]["n_top_genes"])
    # counts and normalized counts: a fifth of all entries, twice 8 bytes
    counts, graph, figures = 3.2 * n_cells * n_genes, 6400 * n_cells, 2e7
    dynamo = 0 if config["dynamo"] is False else 12 * n_cells * n_genes + 2 * counts
    total = 2 * counts
    for method in traits.values():
        total += 4 * n_cells * n_genes * (3 * method["n_layers"] + 2) + counts + graph + figures + dynamo
    return total


def _shape_of_source(options):
    """Return the numbers of cells and genes of a dataset before any selection, None where reading them takes long."""
    if "simulate" in options:
        return options["simulate"]["n_cells"], options["simulate"]["n_genes"]
    import h5py  # not at the top: jobs import this module, too

    try:
        with h5py.File(options["source"]) as file:
            return tuple(file[table][file[table].attrs["_index"]].shape[0] for table in ("obs", "var"))
    except (AttributeError, KeyError, OSError, TypeError):  # other formats, and indexes of other types
        return None
