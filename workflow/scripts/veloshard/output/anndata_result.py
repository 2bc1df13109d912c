"""Assemble a velocity result as an AnnData file with the keys of scVelo and CellRank."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from veloshard import __version__
from veloshard.graph.velocity_graph import split_signs
from veloshard.io import FilePath
from veloshard.io.fits import fit_layer_names, load_fit_layer
from veloshard.io.prepared import load_gene_block
from veloshard.output.annotations import add_analyses
from veloshard.preprocessing.cell_cycle import PHASES
from veloshard.preprocessing.moments import first_moments

# packages whose version can change the numbers of a result
PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "scanpy", "umap-learn", "anndata", "h5py")

# genes that are read, transposed and written together
GENES_AT_ONCE = 64


def assemble_result(
    prepared: AnnData,
    *,
    genes: Mapping[str, ArrayLike],
    cells: Mapping[str, ArrayLike],
    graph: sparse.csr_matrix,
    self_transition: NDArray[np.floating],
    embedding: Mapping[str, NDArray[np.floating]],
    velocity_embedding: NDArray[np.floating],
    model_embeddings: Mapping[str, NDArray[np.floating]],
    model_versions: Sequence[str],
    cell_cycle: Mapping[str, NDArray[Any]],
    differential_kinetics: tuple[Mapping[str, ArrayLike], NDArray[np.floating], NDArray[np.bool_]] | None,
    ranking: pd.DataFrame,
    paga: Mapping[str, Any],
    clusters: str,
    warnings: Sequence[str],
    options: Mapping[str, Any],
    has_curves: bool = False,
) -> AnnData:
    """Return a velocity result as AnnData, without its dense layers.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset that `save_prepared` wrote. It is changed and returned.
    genes : dict of str to array, shape (n_genes,)
        Columns to add to `var`.
    cells : dict of str to array, shape (n_cells,)
        Columns to add to `obs`.
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.
    self_transition : ndarray of float, shape (n_cells,)
        Self-transition probabilities.
    embedding : dict of str to ndarray, shape (n_cells, n_dims)
        One embedding by its key of `obsm`.
    velocity_embedding : ndarray of float, shape (n_cells, n_dims)
        Velocities on the embedding.
    model_embeddings : dict of str to ndarray, shape (n_cells, n_dims)
        Embeddings that the method computed, by key of `obsm`; may be empty.
    model_versions : sequence of str
        Packages in the environment of another group's model, as ``"name version"``; may be empty.
    cell_cycle : dict of str to ndarray, shape (n_cells,)
        Scores and phase of the cell cycle. Scores in the user's file take precedence.
    differential_kinetics : tuple or None
        Columns of the genes, p-values of shape (n_genes, n_clusters) and a mask, as `load_differential_kinetics`
        returns them.
    ranking : DataFrame
        Table of `rank_genes`.
    paga : dict
        Fields of a `PAGA`.
    clusters : str
        Column of `obs` with the clusters, or ``""``.
    warnings : sequence of str
        Warnings of all earlier steps.
    options : dict
        Nested options that determine the result.
    has_curves : bool
        Whether the method fits curves as scVelo's dynamical model does.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        The result. `add_dense_layers` adds the dense layers to its file.
    """
    preparation, ingestion = prepared.uns.pop("prepare"), prepared.uns.pop("ingest")
    prepared.obsm.update(model_embeddings)
    add_analyses(
        prepared,
        dataset=options["dataset_name"],
        method=options["method_name"],
        clusters=clusters,
        genes=genes,
        cells={"velocity_self_transition": self_transition, **cells},
        embedding=embedding,
        velocity_embedding=velocity_embedding,
        differential_kinetics=differential_kinetics,
        ranking=ranking,
        paga=paga,
    )
    if cell_cycle and set(cell_cycle).isdisjoint(prepared.obs.columns):
        phase_codes: NDArray[np.integer[Any]] = cell_cycle["phase"]
        phase = pd.Categorical.from_codes(phase_codes, pd.Index(PHASES))
        prepared.obs = prepared.obs.assign(**{**cell_cycle, "phase": phase})
    prepared.uns["velocity_graph"], prepared.uns["velocity_graph_neg"] = split_signs(graph)
    prepared.uns["velocity_params"]["mode"] = options["method"]["method"]
    if has_curves:
        # scVelo reads the settings of the fit before it computes with it
        prepared.uns["recover_dynamics"] = {
            "fit_connected_states": True,
            "fit_basal_transcription": False,
            "use_raw": False,
        }
    prepared.uns["provenance"] = {
        "source": {key: ingestion[key] for key in ("source", "format", "sha256")},
        "prepared_sha256": preparation["fingerprint"],
        "options": json.dumps(options, sort_keys=True),
        "versions": {"veloshard": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
        "model_versions": np.array(model_versions, dtype=str),
        "warnings": np.array(warnings, dtype=str),
        "left_out": preparation["left_out"],
    }
    return prepared


def add_dense_layers(
    path: FilePath,
    prepared_path: FilePath,
    fit_path: FilePath,
    *,
    names: Mapping[str, str] | None = None,
    missing: float = np.nan,
) -> None:
    """Append dense layers to an AnnData file: the moments Ms and Mu and the layers of the fit.

    All layers are float32 of shape (n_cells, n_genes). Genes are processed in blocks, so that no layer is in memory as
    a whole.

    Parameters
    ----------
    path : path-like
        AnnData file with the cells and genes of the prepared data.
    prepared_path : path-like
        File `prepared.h5ad`.
    fit_path : path-like
        Merged fit.
    names : dict of str to str, optional
        ``"Ms"``, ``"Mu"`` or a layer of the fit by the name in the file. By default all layers with their own names.
    missing : float
        Value of genes without a fit.
    """
    block, _ = load_gene_block(prepared_path)
    names = names or {name: name for name in ("Ms", "Mu", *fit_layer_names(fit_path))}
    with h5py.File(path, "r+") as file:
        n_cells, n_genes = len(block.neighborhood.indptr) - 1, len(block.names)
        chunks = (min(n_cells, 4096), min(n_genes, GENES_AT_ONCE))
        for name in names:
            layer = file["layers"].create_dataset(name, (n_cells, n_genes), "f4", chunks=chunks)
            layer.attrs["encoding-type"], layer.attrs["encoding-version"] = "array", "0.2.0"
        for first in range(0, n_genes, GENES_AT_ONCE):
            genes = slice(first, min(first + GENES_AT_ONCE, n_genes))
            for name, source in names.items():
                if source in ("Ms", "Mu"):
                    counts = block.spliced if source == "Ms" else block.unspliced
                    values = first_moments(counts[:, genes], block.neighborhood)
                else:
                    values = _fit_values(fit_path, source, genes, missing)
                file["layers"][name][:, genes] = values.T


def _fit_values(path: FilePath, layer: str, genes: slice, missing: float) -> NDArray[np.float32]:
    """Return a layer of some genes, with NaN replaced by `missing`."""
    values = load_fit_layer(path, layer, genes=genes)
    assert values is not None, f"the fit has no layer {layer!r}"
    values[np.isnan(values)] = missing
    return values
