"""Read velocity results without loading their dense layers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import h5py
import pandas as pd
from numpy.typing import NDArray

from veloshard.io import FilePath


class Result(NamedTuple):
    """A velocity result with the attributes of AnnData, whose layers stay on disk.

    Attributes
    ----------
    obs, var : DataFrame
        Annotations of cells and genes.
    obsm : dict of str to ndarray, shape (n_cells, n_dims)
        Embeddings and velocity embeddings.
    uns : dict
        Unstructured annotations, without the velocity graphs.
    layers : mapping of str to array
        Layers on disk, shape (n_cells, n_genes), such as an h5py.Group.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    obsm: dict[str, NDArray[Any]]
    uns: dict[str, Any]
    layers: Mapping[str, Any]


@contextmanager
def open_result(path: FilePath) -> Iterator[Result]:
    """Open a `velocity.h5ad` and yield its `Result`.

    Parameters
    ----------
    path : path-like
        File that is open as long as the context.

    Yields
    ------
    Result
    """
    from anndata.io import read_elem  # here, because importing anndata is slow and takes memory

    with h5py.File(path) as file:
        uns = {name: read_elem(item) for name, item in file["uns"].items() if not name.startswith("velocity_graph")}
        yield Result(
            obs=read_elem(file["obs"]),
            var=read_elem(file["var"]),
            obsm={name: item[()] for name, item in file["obsm"].items()},
            uns=uns,
            layers=file["layers"],
        )
