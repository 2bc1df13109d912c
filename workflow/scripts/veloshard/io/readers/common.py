"""Names of layers, and functions that all readers use."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike
from scipy import sparse

from veloshard.errors import InputError, choices, full_name

# Names of the layers in files of common programs. `ambiguous` is optional.
LAYER_NAMES = {"spliced": ("spliced", "mature"), "unspliced": ("unspliced", "nascent"), "ambiguous": ("ambiguous",)}


LAYERS = ("spliced", "unspliced")


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Raise an InputError that names the file for any error of h5py, AnnData, pandas or gzip.

    Parameters
    ----------
    where : str
        Dataset and file, for messages.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # the parser warns if it skips a part of the file
            warnings.simplefilter("error", category=pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: no permission to read ({error}). Change the permissions of the file.") from error
    except Exception as error:
        detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{where}: damaged, cannot be read ({detail}). Write or download it again.") from error


def choose_layers(
    available: Collection[str], own_names: Mapping[str, str], *, where: str, key: str = ""
) -> dict[str, str]:
    """Return the names of the layers in a file.

    Parameters
    ----------
    available : collection of str
        Names of all layers in the file.
    own_names : dict of str to str
        Names that the user gave, by `spliced`, `unspliced` and `ambiguous`.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the arguments' names in messages.

    Returns
    -------
    dict of str to str
        Name in the file of `spliced`, `unspliced` and, if the file has it, `ambiguous`.

    Raises
    ------
    InputError
        If a layer is missing, or if one layer is named for spliced and unspliced counts.
    """
    chosen = {}
    for layer, usual_names in LAYER_NAMES.items():
        names = (own_names[layer],) if layer in own_names else usual_names
        present = [name for name in names if name in available]
        if present:
            chosen[layer] = present[0]
        elif layer in LAYERS or layer in own_names:
            raise InputError(
                f"{where}: no layer {names[0]!r} for the {layer} counts ({choices(available)}). "
                f"Set {full_name(f'layers.{layer}', key)}."
            )
    if chosen["spliced"] == chosen["unspliced"]:
        raise InputError(
            f"{where}: the spliced and the unspliced counts cannot both be layer {chosen['spliced']!r}. "
            f"Correct {full_name('layers', key)}."
        )
    return chosen


def gene_table(ids: ArrayLike, names: ArrayLike) -> tuple[pd.DataFrame, list[str]]:
    """Return the annotation of genes with unique names.

    A name that several genes share gets the id appended for each of them, so that it is the same in every sample.

    Parameters
    ----------
    ids, names : array_like of str, shape (n_genes,)
        Ids and names of the genes.

    Returns
    -------
    var : DataFrame, shape (n_genes, 1)
        Column `gene_ids`, indexed by the unique names.
    notes : list of str
        Notes on appended ids.
    """
    name, gene_id = pd.Series(pd.Index(names, dtype=str)), pd.Series(pd.Index(ids, dtype=str))
    is_shared = name.duplicated(keep=False).to_numpy()
    notes = []
    if is_shared.any() and not gene_id.equals(name):
        notes.append(
            f"{is_shared.sum()} genes share {name[is_shared].nunique()} names: their ids are appended, as in "
            f"{name[is_shared].iloc[0]}_{gene_id[is_shared].iloc[0]}"
        )
        name = name.where(~is_shared, name + "_" + gene_id)
    return pd.DataFrame({"gene_ids": gene_id.to_numpy()}, index=pd.Index(name.to_numpy())), notes


def assemble(
    obs: pd.DataFrame,
    var: pd.DataFrame,
    counts: Mapping[str, sparse.csr_matrix],
    *,
    where: str,
    format: str,
    notes: Sequence[str] = (),
    **annotations: Any,
) -> AnnData:
    """Return the AnnData of a file's parts, in the form that all readers return.

    Parameters
    ----------
    obs, var : DataFrame, n_cells and n_genes rows
        Annotations of cells and genes, indexed by their names.
    counts : dict of str to csr_matrix, shape (n_cells, n_genes)
        Layers, as `sparse_blocks.sparse_counts` returns them.
    where : str
        Dataset and file, for messages.
    format : str
        Name of the file's format.
    notes : sequence of str
        Notes for the user on how the file was read.
    **annotations
        Further parts of the AnnData: `obsm`, `obsp`, `uns`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        Without X. ``uns["reader"]`` holds `format` and `notes`.

    Raises
    ------
    InputError
        If there are no cells or no genes, or if a name occurs twice.
    """
    for kind, axis, names in (("cell", "obs", obs.index), ("gene", "var", var.index)):
        if not len(names):
            raise InputError(f"{where}: the file has no {kind}s.")
        repeated = names[names.duplicated()].unique().astype(str)
        if len(repeated):
            raise InputError(
                f"{where}: {len(repeated)} {kind} names occur more than once ({', '.join(repeated[:3])}). "
                f"Make them unique, for example with AnnData's {axis}_names_make_unique()."
            )
    uns = {**annotations.pop("uns", {}), "reader": {"format": format, "notes": list(notes)}}
    obs, var = obs.set_axis(obs.index.astype(str)), var.set_axis(var.index.astype(str))
    return AnnData(obs=obs, var=var, layers=counts, uns=uns, **annotations)
