"""Combine several samples into one dataset."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from veloshard.errors import InputError
from veloshard.io.readers.common import LAYERS, gene_table


def combine_samples(samples: Mapping[str, AnnData], *, join: str = "intersection", where: str) -> AnnData:
    """Return one dataset with the cells of several samples.

    Parameters
    ----------
    samples : dict of str to AnnData
        Counts as `readers.read` returns them, by the names of the samples.
    join : str
        Genes to keep: those of all samples (``"intersection"``) or of any sample (``"union"``). In a union, a gene that
        a sample lacks has no counts there. Genes are matched by id if all samples have unique ids, else by name.
    where : str
        Dataset, for messages.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        Cells are named SAMPLE:NAME, and `obs` has the column `sample`. Layers are those that all samples have.
        ``uns["reader"]`` holds `format`, `notes` on genes and counts that were left out, and `samples`. Embeddings and
        neighbor graphs of the samples are dropped, because they cannot be combined.

    Raises
    ------
    InputError
        If the samples have no genes in common, or if a gene occurs twice in a sample.
    """
    has_ids = all("gene_ids" in sample.var and sample.var["gene_ids"].is_unique for sample in samples.values())
    ids_of_sample = {
        name: pd.Index(sample.var["gene_ids"] if has_ids else sample.var_names) for name, sample in samples.items()
    }
    for name, ids in ids_of_sample.items():
        if ids.has_duplicates:
            raise InputError(
                f"{where}, sample {name!r}: gene {ids[ids.duplicated()][0]!r} occurs more than once. Make genes unique."
            )
    genes = next(iter(ids_of_sample.values()))
    for ids in ids_of_sample.values():
        genes = genes[genes.isin(ids)] if join == "intersection" else genes.append(ids[~ids.isin(genes)])
    if not len(genes):
        examples = ", ".join(f"{name}: {ids[0]}" for name, ids in ids_of_sample.items())
        raise InputError(
            f"{where}: the samples have no genes in common ({examples}). Count them with the same gene annotation."
        )
    layers = [
        layer for layer in next(iter(samples.values())).layers if all(layer in s.layers for s in samples.values())
    ]
    var, notes = _combined_genes(samples, ids_of_sample, genes) if has_ids else (pd.DataFrame(index=genes), [])
    notes += [f"sample {name!r}: {note}" for name, sample in samples.items() for note in sample.uns["reader"]["notes"]]
    notes += _notes_on_genes(samples, ids_of_sample, genes, join)
    obs = pd.concat(
        [
            sample.obs.set_axis(f"{name}:" + sample.obs_names.astype(str)).assign(sample=name)
            for name, sample in samples.items()
        ]
    )
    obs["sample"] = pd.Categorical(obs["sample"], categories=list(samples))
    counts = {
        layer: _stack([_align_genes(s.layers[layer], ids_of_sample[n], genes) for n, s in samples.items()])
        for layer in layers
    }
    formats = ", ".join(dict.fromkeys(sample.uns["reader"]["format"] for sample in samples.values()))
    return AnnData(
        obs=obs, var=var, layers=counts, uns={"reader": {"format": formats, "notes": notes, "samples": list(samples)}}
    )


def _combined_genes(
    samples: Mapping[str, AnnData], ids_of_sample: Mapping[str, pd.Index], genes: pd.Index
) -> tuple[pd.DataFrame, list[str]]:
    """Return the annotation of the genes, with the name from the first sample that has each gene, and notes."""
    names = pd.Series(index=genes, dtype=object)
    for name, sample in samples.items():
        # an id that was appended to a shared name is removed, because other genes may share the name now
        own = pd.Series(sample.var_names.astype(str), index=ids_of_sample[name])
        suffixes = "_" + own.index.astype(str)
        bare = [
            value.removesuffix(suffix) if value != suffix else value
            for value, suffix in zip(own, suffixes, strict=True)
        ]
        names = names.fillna(pd.Series(bare, index=own.index).reindex(genes))
    return gene_table(genes, names.to_numpy())


def _notes_on_genes(
    samples: Mapping[str, AnnData], ids_of_sample: Mapping[str, pd.Index], genes: pd.Index, join: str
) -> list[str]:
    """Return notes on the genes that a sample lacks, or that are left out because not all samples have them."""
    notes = []
    for name, sample in samples.items():
        if join == "union":
            n_absent = len(genes) - len(ids_of_sample[name])
            if n_absent:
                notes.append(f"sample {name!r} lacks {n_absent} of the {len(genes)} genes: no counts there")
            continue
        is_left_out = ~ids_of_sample[name].isin(genes)
        if is_left_out.any():
            spliced, unspliced = (np.asarray(sample.layers[layer].sum(axis=0)).ravel() for layer in LAYERS)
            totals = spliced + unspliced
            fraction = totals[is_left_out].sum() / max(totals.sum(), 1)
            notes.append(
                f"sample {name!r}: {is_left_out.sum()} of {len(is_left_out)} genes, with {fraction:.1%} of its counts, "
                "are not in all samples: left out"
            )
    return notes


def _align_genes(counts: sparse.csr_matrix, sample_genes: pd.Index, genes: pd.Index) -> sparse.csr_matrix:
    """Return the counts of a sample with the genes of the dataset as columns."""
    if sample_genes.equals(genes):
        return counts
    column = genes.get_indexer(sample_genes)
    if (column < 0).any():
        counts, column = counts[:, column >= 0], column[column >= 0]
    aligned = sparse.csr_matrix(
        (counts.data, column.astype(np.int32)[counts.indices], counts.indptr), (counts.shape[0], len(genes))
    )
    aligned.sort_indices()
    return aligned


def _stack(blocks: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
    """Return the blocks of cells as one matrix: float32 if any of them is, else the widest integer type."""
    dtypes = {block.dtype for block in blocks}
    dtype = np.float32 if any(dtype.kind == "f" for dtype in dtypes) else np.result_type(*dtypes)
    return sparse.vstack([block.astype(dtype, copy=False) for block in blocks], format="csr")
