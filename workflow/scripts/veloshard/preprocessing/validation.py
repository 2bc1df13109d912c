"""Check the options of a dataset against its data, before expensive steps."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from anndata import AnnData

from veloshard.errors import InputError, choices, full_name
from veloshard.labels import as_label, as_labels
from veloshard.preprocessing.cell_selection import cells_to_keep
from veloshard.preprocessing.embedding import COMPUTED_EMBEDDING
from veloshard.preprocessing.gene_selection import genes_to_keep
from veloshard.preprocessing.ingest import check_coordinates

log = logging.getLogger(__name__)


def check_options(
    counts: AnnData,
    *,
    dataset: str,
    clusters: str | None = None,
    root: object = None,
    terminal_states: Sequence[object] = (),
    expected: Sequence[Sequence[object]] = (),
    embedding: str | None = None,
    cells: Mapping[str, Any] | None = None,
    genes: Mapping[str, Any] | None = None,
    key: str = "",
) -> list[str]:
    """Check that a dataset has everything that its options name.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Dataset as `ingest_counts` returns it. Layers are not needed.
    dataset : str
        Name of the dataset, for messages.
    clusters : str, optional
        Column of `obs` with the clusters.
    root : str or number, optional
        Cluster in which the process starts.
    terminal_states : sequence of str or number
        Clusters in which the process ends.
    expected : sequence of pairs of str or number
        Known transitions, from one cluster to another.
    embedding : str, optional
        Key of `obsm`. ``"X_umap"`` need not exist, because it can be computed.
    cells, genes : dict, optional
        Options of `cells_to_keep` and `genes_to_keep`.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas"``.

    Returns
    -------
    list of str
        Warnings, which are also logged.

    Raises
    ------
    InputError
        If something is missing or cannot be used.
    """
    where = f"dataset {dataset!r}: {counts.uns['ingest']['source']}"
    is_kept = cells_to_keep(counts.obs, dataset=dataset, key=full_name("cells", key), **(cells or {}))
    genes_to_keep(counts.var_names, dataset=dataset, key=full_name("genes", key), **(genes or {}))
    warnings = []
    labels, clusters_option = None, full_name("clusters", key)
    if clusters is not None:
        labels = _cluster_labels(counts.obs, clusters, where=where, option=clusters_option)[is_kept]
        warnings += _cluster_warnings(labels, clusters)
    named_clusters = {
        "root": [] if root is None else [root],
        "terminal_states": terminal_states,
        "expected": [label for pair in expected for label in pair],
    }
    for option, named in named_clusters.items():
        for label in named:
            _check_label(labels, label, option, where=where, key=key, clusters_option=clusters_option)
    if embedding is not None:
        if embedding == COMPUTED_EMBEDDING and embedding not in counts.obsm:
            warnings.append(f"no {embedding!r} in obsm: it will be computed")
        else:
            check_coordinates(counts, "embedding", embedding, where=where, key=key)
    warnings += _pattern_warnings(counts.var_names, dataset, **(genes or {}))
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    return warnings


def check_vector_field_options(
    prepared: AnnData,
    *,
    dataset: str,
    clusters: str | None = None,
    regulation: Sequence[str] = (),
    trajectories: Mapping[str, Any] | None = None,
    paths: Sequence[Sequence[object]] = (),
    perturbations: Mapping[str, Mapping[str, Any]] | None = None,
    key: str = "",
    clusters_option: str = "clusters",
) -> None:
    """Check that a prepared dataset has the clusters and genes that the options of its vector fields name.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset as `prepare_data` returns it. Layers are not needed.
    dataset : str
        Name of the dataset, for messages.
    clusters : str, optional
        Column of `obs` with the clusters.
    regulation : sequence of str
        Genes whose regulators are ranked.
    trajectories : dict, optional
        Options of `integrate_trajectories`, of which `clusters` is checked.
    paths : sequence of pairs of str or number
        First and last cluster of least action paths.
    perturbations : dict of dict, optional
        Changes of genes, by the names of the perturbations.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas.vector_field"``.
    clusters_option : str
        Name of the argument `clusters` in messages, such as ``"datasets.pancreas.clusters"``.

    Raises
    ------
    InputError
        If a cluster or gene does not exist.
    """
    where = f"dataset {dataset!r}"
    labels = None if clusters is None else as_labels(prepared.obs[clusters])
    named_clusters = {
        "trajectories.clusters": (trajectories or {}).get("clusters", ()),
        "paths": [label for pair in paths for label in pair],
    }
    for option, named in named_clusters.items():
        if named and labels is None:
            raise InputError(
                f"{where}: {full_name(option, key)} names clusters, but the dataset has none. Set {clusters_option}."
            )
        for label in named:
            _check_label(labels, label, option, where=where, key=key, clusters_option=clusters_option)
    named_genes = {
        "regulation": regulation,
        **{f"perturbations.{name}": list(changes) for name, changes in (perturbations or {}).items()},
    }
    for option, genes in named_genes.items():
        missing = [gene for gene in genes if gene not in prepared.var_names]
        if missing:
            raise InputError(
                f"{where}: no gene {missing[0]!r} among the {prepared.n_vars} genes kept "
                f"({choices(prepared.var_names, missing[0])}). Correct {full_name(option, key)}, or keep the gene: "
                "raise n_top_genes, lower min_shared_counts, or do not exclude it."
            )


def _cluster_labels(obs: pd.DataFrame, column: str, *, where: str, option: str) -> pd.Series:
    """Return the labels of the cells; InputError if the column cannot hold clusters."""
    if column not in obs:
        raise InputError(f"{where}: no column {column!r} in obs ({choices(obs, column)}). Correct {option}.")
    values = obs[column]
    if values.dtype.kind == "f" and not (values.dropna() % 1 == 0).all():
        raise InputError(
            f"{where}: column {column!r} holds continuous numbers, not clusters ({choices(obs)}). Correct {option}."
        )
    labels = as_labels(values)
    if labels.isna().all():
        raise InputError(f"{where}: no cell has a label in column {column!r}. Correct or remove {option}.")
    return labels


def _check_label(
    labels: pd.Series | None, label: object, option: str, *, where: str, key: str, clusters_option: str
) -> None:
    """Raise InputError if no cell has a label."""
    present = [] if labels is None else labels.cat.remove_unused_categories().cat.categories
    if as_label(label) not in present:
        raise InputError(
            f"{where}: {option} {label!r} is not among the clusters of the cells kept ({choices(present, label)}). "
            f"Correct {full_name(option, key)}, or {clusters_option} if the clusters are in another column."
        )


def _cluster_warnings(labels: pd.Series, column: str) -> list[str]:
    """Return warnings about cells without a label and clusters of one cell."""
    warnings = []
    if labels.isna().any():
        warnings.append(f"{labels.isna().sum()} cells have no label in {column!r}: kept, in no cluster")
    sizes = labels.value_counts()
    single = sizes.index[sizes == 1]
    if len(single):
        listed = ", ".join(single[:5]) + (", ..." if len(single) > 5 else "")
        warnings.append(f"{len(single)} clusters of a single cell ({listed}): no values of their own")
    return warnings


def _pattern_warnings(
    names: pd.Index, dataset: str, *, exclude_pattern: str | None = None, exclude: Sequence[str] = ()
) -> list[str]:
    """Return a warning if a pattern excludes no gene."""
    if exclude_pattern is None or not genes_to_keep(names, dataset=dataset, exclude_pattern=exclude_pattern).all():
        return []
    return [f"no gene matches exclude_pattern {exclude_pattern!r}"]
