"""Read what a figure shows from the files of its analyses, so that it needs no other analysis."""

import functools
from collections.abc import Callable, Mapping

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray

from veloshard.io import FilePath
from veloshard.io.fits import fit_layer_names, load_differential_kinetics, load_fit_genes, load_fit_layer
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_gene_counts, load_neighborhood
from veloshard.io.results import Result
from veloshard.output.annotations import add_analyses
from veloshard.output.rankings import load_ranking

# layers of moments: the counts that they average
MOMENTS = {"Ms": "spliced", "Mu": "unspliced"}


class ColumnsOnDisk:
    """A layer of which single genes are read: ``layer[:, gene]`` has the shape (n_cells,).

    Parameters
    ----------
    read : callable
        Function that takes the index of a gene and returns its values, shape (n_cells,).
    """

    def __init__(self, read: Callable[[int], NDArray[np.float32]]) -> None:
        self._read = read

    def __getitem__(self, index: tuple[slice, int]) -> NDArray[np.float32]:
        """Return the values of a gene in some cells."""
        cells, gene = index
        return self._read(gene)[cells]


def open_figure_data(
    *,
    dataset: str,
    method: str,
    clusters: str,
    prepared: FilePath,
    fit: FilePath | None = None,
    embedding: FilePath | None = None,
    velocity_embedding: FilePath | None = None,
    confidence: FilePath | None = None,
    pseudotime: FilePath | None = None,
    posterior_scores: FilePath | None = None,
    differential_kinetics: FilePath | None = None,
    ranking: FilePath | None = None,
    paga: FilePath | None = None,
) -> Result:
    """Return the part of a velocity result that comes from some analyses.

    A figure of these analyses has the same bytes as one of the complete result. The layers stay on disk.

    Parameters
    ----------
    dataset, method : str
        Names of the dataset and the method.
    clusters : str
        Column of `obs` with the clusters, or ``""``.
    prepared : path-like
        File `prepared.h5ad`.
    fit, embedding, velocity_embedding, confidence, pseudotime : path-like, optional
        Files of analyses. A velocity embedding needs its embedding.
    posterior_scores, differential_kinetics, ranking, paga : path-like, optional
        Files of further analyses.

    Returns
    -------
    Result
        Annotations of the dataset and of these analyses. It has the layers `Ms`, `Mu` and those of the fit; of a layer,
        only single genes can be read.
    """
    annotations = _load_annotations(prepared, clusters)
    add_analyses(
        annotations,
        dataset=dataset,
        method=method,
        clusters=clusters,
        genes={name: values for name, values in (load_fit_genes(fit) if fit else {}).items() if name != "name"},
        cells={
            name: values
            for path in (posterior_scores, confidence, pseudotime)
            if path
            for name, values in load_arrays(path).items()
        },
        embedding=load_arrays(embedding) if embedding else {},
        velocity_embedding=load_arrays(velocity_embedding)["velocity_embedding"] if velocity_embedding else None,
        differential_kinetics=load_differential_kinetics(differential_kinetics) if differential_kinetics else None,
        ranking=load_ranking(ranking) if ranking else None,
        paga=load_arrays(paga) if paga else None,
    )
    return Result(
        obs=annotations.obs,
        var=annotations.var,
        obsm=dict(annotations.obsm),
        uns=dict(annotations.uns),
        layers=_layers(prepared, fit),
    )


def _load_annotations(path: FilePath, clusters: str) -> AnnData:
    """Return the annotations of cells and genes of a prepared dataset, and the stored colors of its clusters."""
    key = f"{clusters}_colors"
    with h5py.File(path) as file:
        uns = {key: read_elem(file["uns"][key])} if key in file["uns"] else {}
        return AnnData(obs=read_elem(file["obs"]), var=read_elem(file["var"]), uns=uns)


def _layers(prepared: FilePath, fit: FilePath | None) -> Mapping[str, ColumnsOnDisk]:
    """Return the layers of a result."""
    neighborhood = functools.cache(lambda: load_neighborhood(prepared))

    def read_moments(counts: str, gene: int) -> NDArray[np.float32]:
        from veloshard.preprocessing.moments import first_moments  # here, because compiled code is slow to import

        moments = first_moments(load_gene_counts(prepared, counts, gene), neighborhood())
        return np.ravel(moments)

    def read_fit(fit: FilePath, name: str, gene: int) -> NDArray[np.float32]:
        values = load_fit_layer(fit, name, genes=slice(gene, gene + 1))
        assert values is not None, f"the fit has no layer {name!r}"
        return np.ravel(values)

    layers = {name: ColumnsOnDisk(functools.partial(read_moments, counts)) for name, counts in MOMENTS.items()}
    if fit:
        layers |= {name: ColumnsOnDisk(functools.partial(read_fit, fit, name)) for name in fit_layer_names(fit)}
    return layers
