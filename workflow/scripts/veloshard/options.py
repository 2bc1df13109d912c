"""Whether what is asked of a dataset can be done: found out before anything expensive starts."""

import logging

from veloshard import selection
from veloshard.errors import InputError, choices
from veloshard.ingest import check_coordinates
from veloshard.preprocess import COMPUTED_EMBEDDING

log = logging.getLogger(__name__)


def check_options(
    counts,
    *,
    dataset,
    clusters=None,
    root=None,
    terminal_states=(),
    expected=(),
    embedding=None,
    cells=None,
    genes=None,
):
    """Make sure that a dataset has all that its options name.

    Parameters
    ----------
    counts : anndata.AnnData, (n_cells, n_genes)
        As `ingest.ingest` returns it; its layers are not looked at.
    dataset : str
        Name of the dataset, for messages.
    clusters : str, optional
        Column of `obs` with the clusters.
    root : str or number, optional
        Cluster in which the process starts.
    terminal_states : list of str or number, optional
        Clusters in which the process ends.
    expected : list of pairs, optional
        Clusters from which and to which cells are known to go.
    embedding : str, optional
        Key of `obsm` for figures; ``'X_umap'`` need not exist, it will be computed.
    cells, genes : dict, optional
        Options of `selection.cells_to_keep` and `selection.genes_to_keep`.

    Returns
    -------
    list of str
        Warnings of what is unusual but will go on; they are also logged.

    Raises
    ------
    InputError
        For anything that is missing, misspelt, or cannot be what it is said to be.
    """
    where, key = f"dataset {dataset!r}: {counts.uns['ingest']['source']}", f"datasets.{dataset}"
    kept = selection.cells_to_keep(counts.obs, dataset=dataset, **(cells or {}))
    selection.genes_to_keep(counts.var_names, dataset=dataset, **(genes or {}))
    warnings = []
    labels = None
    if clusters is not None:
        labels = _checked_clusters(counts.obs, clusters, where=where, key=key)[kept]
        warnings += _unusual_clusters(labels, clusters)
    starts = [root] if root is not None else []
    for option, named in (("root", starts), ("terminal_states", terminal_states), ("expected", sum(expected, []))):
        for label in named:
            _check_label(labels, label, option, where=where, key=key)
    if embedding is not None:
        if embedding == COMPUTED_EMBEDDING and embedding not in counts.obsm:
            warnings.append(f"no {embedding!r} in obsm: it will be computed")
        else:
            check_coordinates(counts, "embedding", embedding, where=where, key=key)
    warnings += _idle_pattern(counts.var_names, dataset, **(genes or {}))
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    return warnings


def check_fields(prepared, *, dataset, clusters=None, regulation=(), trajectories=None, paths=(), perturbations=None):
    """Make sure that the cells and genes that were kept of a dataset are all that is asked of its vector fields.

    prepared : anndata.AnnData, as `preprocess.prepare` returns it; its layers are not looked at.
    dataset, clusters : as of `check_options`.
    regulation, trajectories, paths, perturbations : options of the same names.
    Raises InputError for a cluster or a gene that is not there.
    """
    where, key = f"dataset {dataset!r}", f"datasets.{dataset}"
    labels = None if clusters is None else selection.as_labels(prepared.obs[clusters])
    for option, named in (
        ("trajectories.clusters", (trajectories or {}).get("clusters", ())),
        ("paths", sum(paths, [])),
    ):
        if named and labels is None:
            raise InputError(f"{where}: vector_field.{option} names clusters, and there are none. Set {key}.clusters.")
        for label in named:
            _check_label(labels, label, f"vector_field.{option}", where=where, key=key)
    perturbed = {f"perturbations.{name}": changes for name, changes in (perturbations or {}).items()}
    for option, named in {"regulation": regulation, **perturbed}.items():
        lost = [gene for gene in named if gene not in prepared.var_names]
        if lost:
            raise InputError(
                f"{where}: no gene {lost[0]!r} among the {prepared.n_vars} that were kept "
                f"({choices(prepared.var_names, lost[0])}). Correct {key}.vector_field.{option}, or keep it: by "
                "preprocess.n_top_genes, preprocess.min_shared_counts or genes.exclude."
            )


def _checked_clusters(obs, column, *, where, key):
    """Labels of the cells; InputError where the column cannot hold clusters."""
    if column not in obs:
        raise InputError(f"{where}: no column {column!r} in obs ({choices(obs, column)}). Correct {key}.clusters.")
    stored = obs[column]
    if stored.dtype.kind == "f" and not (stored.dropna() % 1 == 0).all():
        raise InputError(
            f"{where}: column {column!r} holds continuous numbers, not clusters ({choices(obs)}). "
            f"Correct {key}.clusters."
        )
    labels = selection.as_labels(stored)
    if labels.isna().all():
        raise InputError(f"{where}: no cell has a label in column {column!r}. Correct or remove {key}.clusters.")
    return labels


def _check_label(labels, label, option, *, where, key):
    present = [] if labels is None else labels.cat.remove_unused_categories().cat.categories
    if selection.as_label(label) not in present:
        raise InputError(
            f"{where}: {option} {label!r} is not among the clusters of the cells kept ({choices(present, label)}). "
            f"Correct {key}.{option}, or {key}.clusters if the clusters are not these."
        )


def _unusual_clusters(labels, column):
    warnings = []
    if labels.isna().any():
        warnings.append(f"{labels.isna().sum()} cells have no label in {column!r}: kept, in no cluster")
    sizes = labels.value_counts()
    single = sizes.index[sizes == 1]
    if len(single):
        listed = ", ".join(single[:5]) + (", ..." if len(single) > 5 else "")
        warnings.append(f"{len(single)} clusters of a single cell ({listed}): no values of their own")
    return warnings


def _idle_pattern(names, dataset, *, exclude_pattern=None, **_):
    if exclude_pattern is None:
        return []
    idle = selection.genes_to_keep(names, dataset=dataset, exclude_pattern=exclude_pattern).all()
    return [f"no gene matches exclude_pattern {exclude_pattern!r}"] if idle else []
