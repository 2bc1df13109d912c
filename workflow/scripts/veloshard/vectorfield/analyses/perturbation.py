"""Predicted effect of a perturbation of gene expression on the velocities."""

import numpy as np

from veloshard.graph.velocity_embedding import compute_velocity_embedding
from veloshard.vectorfield import perturbation
from veloshard.vectorfield.dataset import descending_magnitude, gene_rows, tabulate_by_gene
from veloshard.vectorfield.sparsevfc import velocity_at

KNOCK_OUT = "knock_out"


def predict_perturbation(dataset, field, changes, *, name, key="changes"):
    """Return the effect of a perturbation of gene expression on the velocities.

    A knock-out adds the decay of the gene's transcripts with rate 1, which is the same for any vector field. If the
    changes include a knock-out, the result on the embedding is therefore the remaining velocity, field plus effect.
    Otherwise it is the effect alone.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    field : VectorField
        Vector field on the principal components.
    changes : dict of str to (dict of str to float) or str
        Change of each gene: "knock_out", or one of the modes `absolute`, `change` and `fold` with its value (see
        `perturbation.perturb_pcs`).
    name : str
        Name of the perturbation.
    key : str
        Argument or option that names the genes, for error messages.

    Returns
    -------
    arrays : dict of str to ndarray
        `effect`, float64 (n_cells, n_dims), on the principal components; `effect_embedding`, float64 (n_cells, 2);
        `name`; `changes`, (n_genes,), such as "Gcg: fold 0.5".
    table : pandas.DataFrame
        Mean effect on each gene in each cluster, by decreasing absolute value.

    Raises
    ------
    InputError
        If a gene is missing, or the loadings of the genes are unknown.
    """
    rows = dict(zip(changes, gene_rows(dataset, changes, key=key), strict=True))
    knocked_out = [rows[gene] for gene, change in changes.items() if change == KNOCK_OUT]
    by_row = {rows[gene]: next(iter(change.items())) for gene, change in changes.items() if change != KNOCK_OUT}
    pcs = dataset.pcs
    effects = perturbation.perturbation_effect(field, pcs, perturbation.perturb_pcs(pcs, dataset.pca, by_row))
    if knocked_out:
        effects += perturbation.knock_out_effect(pcs, dataset.pca, knocked_out)
    drift = effects + velocity_at(field, pcs) if knocked_out else effects
    effect_embedding = compute_velocity_embedding(
        perturbation.perturbation_transition_matrix(pcs, drift, dataset.distances), dataset.embedding
    )
    # an effect of 0 leaves rounding errors, which would be scaled to the usual length
    effect_embedding = effect_embedding if drift.any() else 0 * effect_embedding
    table = tabulate_by_gene(dataset, {"effect": effects})
    table = table.sort_values(["cluster", "effect"], key=descending_magnitude, kind="stable", ignore_index=True)
    descriptions = [f"{gene}: {_describe(change)}" for gene, change in changes.items()]
    arrays = {
        "effect_embedding": effect_embedding,
        "effect": effects,
        "name": np.array(name),
        "changes": np.array(descriptions),
    }
    return arrays, table


def _describe(change):
    if change == KNOCK_OUT:
        return "knocked out"
    ((mode, value),) = change.items()
    return f"{mode} {value:g}"
