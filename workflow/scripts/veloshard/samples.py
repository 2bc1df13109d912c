"""Several samples as one dataset: cells with names of their own, genes that all or any of them have."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from veloshard.errors import InputError
from veloshard.readers.common import LAYERS, gene_table


def combine(samples, *, join="intersection", where):
    """One AnnData of several, one below the other.

    Parameters
    ----------
    samples : dict of str to anndata.AnnData
        What `readers.read` returned, by the names of the samples.
    join : str
        Keep the genes of all samples (``intersection``) or of any (``union``), which have no counts in the others.
        Genes are told by their ids where every sample has ids, else by their names.
    where : str
        The dataset, for messages.

    Returns
    -------
    anndata.AnnData
        Cells are named SAMPLE:NAME, `obs` has their `sample`; notes in ``uns['reader']`` say what was lost.  Layers
        are those that all samples have.  Embeddings and graphs of the samples are left behind: they do not join.

    Raises
    ------
    InputError
        If the samples have no genes in common, or a name occurs twice.
    """
    has_ids = all("gene_ids" in sample.var and sample.var["gene_ids"].is_unique for sample in samples.values())
    column = "gene_ids" if has_ids else None
    keys = {name: pd.Index(sample.var[column] if column else sample.var_names) for name, sample in samples.items()}
    for name, key in keys.items():
        if key.has_duplicates:
            raise InputError(f"{where}, sample {name!r}: gene id {key[key.duplicated()][0]!r} occurs more than once.")
    genes = next(iter(keys.values()))
    for key in keys.values():
        genes = genes[genes.isin(key)] if join == "intersection" else genes.append(key[~key.isin(genes)])
    if not len(genes):
        example = ", ".join(f"{name}: {key[0]}" for name, key in keys.items())
        raise InputError(f"{where}: the samples have no genes in common ({example}). Count them with one annotation.")
    layers = [
        layer for layer in next(iter(samples.values())).layers if all(layer in s.layers for s in samples.values())
    ]
    var, notes = _genes(samples, keys, genes, column)
    notes += [f"sample {name!r}: {note}" for name, sample in samples.items() for note in sample.uns["reader"]["notes"]]
    notes += _losses(samples, keys, genes, join)
    obs = pd.concat(
        [
            sample.obs.set_axis(f"{name}:" + sample.obs_names.astype(str)).assign(sample=name)
            for name, sample in samples.items()
        ]
    )
    obs["sample"] = pd.Categorical(obs["sample"], categories=list(samples))
    counts = {
        layer: _stacked([_on_genes(s.layers[layer], keys[n], genes) for n, s in samples.items()]) for layer in layers
    }
    formats = ", ".join(dict.fromkeys(sample.uns["reader"]["format"] for sample in samples.values()))
    return AnnData(
        obs=obs, var=var, layers=counts, uns={"reader": {"format": formats, "notes": notes, "samples": list(samples)}}
    )


def _genes(samples, keys, genes, column):
    if column is None:
        return pd.DataFrame(index=genes), []
    names = pd.Series(index=genes, dtype=object)
    for name, sample in samples.items():
        # the program's own name, without an id that was appended to tell it from others
        own = pd.Series(sample.var_names.astype(str), index=keys[name])
        ends = "_" + own.index.astype(str)
        bare = [value.removesuffix(end) if value != end else value for value, end in zip(own, ends, strict=True)]
        names = names.fillna(pd.Series(bare, index=own.index).reindex(genes))
    return gene_table(genes, names.to_numpy())


def _losses(samples, keys, genes, join):
    notes = []
    for name, sample in samples.items():
        if join == "union":
            absent = len(genes) - len(keys[name])
            if absent:
                notes.append(f"sample {name!r} lacks {absent} of the {len(genes)} genes: no counts there")
            continue
        lost = ~keys[name].isin(genes)
        if lost.any():
            held = sum(np.asarray(sample.layers[layer].sum(axis=0)).ravel() for layer in LAYERS)
            share = held[lost].sum() / max(held.sum(), 1)
            notes.append(
                f"sample {name!r}: {lost.sum()} of {len(lost)} genes, with {share:.1%} of its counts, are not in all "
                "samples: left out"
            )
    return notes


def _on_genes(counts, own, genes):
    """The counts with the dataset's genes as columns."""
    if own.equals(genes):
        return counts
    place = genes.get_indexer(own)
    if (place < 0).any():
        counts, place = counts[:, place >= 0], place[place >= 0]
    moved = sparse.csr_matrix(
        (counts.data, place.astype(np.int32)[counts.indices], counts.indptr), (counts.shape[0], len(genes))
    )
    moved.sort_indices()
    return moved


def _stacked(blocks):
    kinds = {block.dtype for block in blocks}
    kind = np.float32 if any(kind.kind == "f" for kind in kinds) else np.result_type(*kinds)
    return sparse.vstack([block.astype(kind, copy=False) for block in blocks], format="csr")
