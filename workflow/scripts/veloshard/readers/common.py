"""What all readers share: the names of layers, and the one form in which counts leave them."""

import warnings
from contextlib import contextmanager

import pandas as pd
from anndata import AnnData

from veloshard.errors import InputError, choices

# what programs call the layers; `ambiguous` need not be there
LAYER_NAMES = {"spliced": ("spliced", "mature"), "unspliced": ("unspliced", "nascent"), "ambiguous": ("ambiguous",)}
LAYERS = ("spliced", "unspliced")


@contextmanager
def reading(where):
    """Whatever h5py, AnnData, pandas and gzip raise on a damaged file, as an InputError that names it."""
    try:
        with warnings.catch_warnings():
            # a parser that warns has left something out
            warnings.simplefilter("error", category=pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: may not be read ({error}). Give yourself the right to.") from error
    except Exception as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{where}: damaged, cannot be read ({said}). Write or download it again.") from error


def chosen_layers(available, own_names, *, where, key):
    """The file's names of the layers, {spliced: ..., unspliced: ...} and `ambiguous` if there is one.

    available : names that the file has.   own_names : those that the user gave, by layer.
    Raises InputError for a layer that is not there.
    """
    chosen = {}
    for layer, usual in LAYER_NAMES.items():
        names = [own_names[layer]] if layer in own_names else usual
        found = [name for name in names if name in available]
        if found:
            chosen[layer] = found[0]
        elif layer in LAYERS or layer in own_names:
            raise InputError(
                f"{where}: no layer {names[0]!r} for the {layer} counts ({choices(available)}). "
                f"Set {key}.layers.{layer}."
            )
    if chosen["spliced"] == chosen["unspliced"]:
        raise InputError(
            f"{where}: the spliced and the unspliced counts cannot both be layer {chosen['spliced']!r}. "
            f"Correct {key}.layers."
        )
    return chosen


def gene_table(ids, names):
    """Annotation of the genes, `gene_ids` by unique names, and notes on how they became unique.

    Names that several genes share get their ids appended, so that they are the same in every sample.
    """
    names = pd.Series(pd.Index(names, dtype=str))
    shared = names.duplicated(keep=False).to_numpy()
    ids = pd.Series(pd.Index(ids, dtype=str))
    notes = []
    if shared.any() and not ids.equals(names):
        notes.append(
            f"{shared.sum()} genes share {names[shared].nunique()} names: their ids are appended, as in "
            f"{names[shared].iloc[0]}_{ids[shared].iloc[0]}"
        )
        names = names.where(~shared, names + "_" + ids)
    return pd.DataFrame({"gene_ids": ids.to_numpy()}, index=pd.Index(names.to_numpy())), notes


def assemble(obs, var, counts, *, where, format, notes=(), **annotations):
    """An AnnData of a dataset's parts, as every reader returns it.

    Parameters
    ----------
    obs, var : pandas.DataFrame, n_cells and n_genes rows
        Annotations of cells and genes, with their names as index.
    counts : dict of str to scipy.sparse.csr_matrix, (n_cells, n_genes)
        The layers, as `counts.sparse_counts` makes them.
    where : str
        Dataset and file, for messages.
    format : str
        Name of the file's format.
    notes : list of str
        What the user should know of how the file was read.
    **annotations
        Further parts for AnnData: `obsm`, `obsp`, `uns`.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        Without X; ``uns['reader']``: `format` and `notes`.

    Raises
    ------
    InputError
        If there are no cells or no genes, or a name occurs twice.
    """
    for kind, axis, names in (("cell", "obs", obs.index), ("gene", "var", var.index)):
        if not len(names):
            raise InputError(f"{where}: there are no {kind}s in it.")
        twice = names[names.duplicated()].unique().astype(str)
        if len(twice):
            raise InputError(
                f"{where}: {len(twice)} {kind} names occur more than once ({', '.join(twice[:3])}). "
                f"Make them unique, such as with AnnData's {axis}_names_make_unique()."
            )
    uns = {**annotations.pop("uns", {}), "reader": {"format": format, "notes": list(notes)}}
    obs, var = obs.set_axis(obs.index.astype(str)), var.set_axis(var.index.astype(str))
    return AnnData(obs=obs, var=var, layers=counts, uns=uns, **annotations)
