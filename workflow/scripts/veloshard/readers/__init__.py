"""Readers of counts, one file a format.

A reader has ``read(path, *, dataset, layers)`` and returns what `assemble` makes of the file's content.  It
refuses with an InputError what it cannot read; whether the content can be used is for `ingest` to judge,
alike for every format.
"""

from anndata import AnnData
from scipy import sparse

from veloshard.errors import InputError

LAYERS = ("spliced", "unspliced")


def assemble(obs, var, counts, *, where, **annotations):
    """An AnnData of a dataset's parts, as every reader returns it.

    Parameters
    ----------
    obs, var : pandas.DataFrame, n_cells and n_genes rows
        Annotations of cells and genes, with their names as index.
    counts : dict of str to array or sparse matrix, (n_cells, n_genes)
        The layers spliced and unspliced, in whatever number type the file has.
    where : str
        Dataset and file, for messages.
    **annotations
        Further parts for AnnData: `obsm`, `obsp`, `uns`.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        Without X; layers in canonical CSR: sorted, no entry twice, no stored zeros.

    Raises
    ------
    InputError
        If a layer has another shape than the names, or a name occurs twice.
    """
    for kind, axis, names in (("cell", "obs", obs.index), ("gene", "var", var.index)):
        twice = names[names.duplicated()].unique().astype(str)
        if len(twice):
            raise InputError(
                f"{where}: {len(twice)} {kind} names occur more than once ({', '.join(twice[:3])}). "
                f"Make them unique, such as with AnnData's {axis}_names_make_unique()."
            )
    for layer, values in counts.items():
        if values.shape != (len(obs), len(var)):
            raise InputError(
                f"{where}: the layer of {layer} counts is {' x '.join(map(str, values.shape))}, but there "
                f"are {len(obs)} cells and {len(var)} genes. Write it again as cells x genes."
            )
    return AnnData(
        obs=obs.set_axis(obs.index.astype(str)),
        var=var.set_axis(var.index.astype(str)),
        layers={layer: _canonical(values) for layer, values in counts.items()},
        **annotations,
    )


def _canonical(values):
    counts = sparse.csr_matrix(values, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts
