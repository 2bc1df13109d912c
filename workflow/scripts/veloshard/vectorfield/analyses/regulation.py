"""Regulation of genes by genes, from the Jacobian of a vector field."""

import numpy as np
import pandas as pd

from veloshard.vectorfield import geometry
from veloshard.vectorfield.dataset import ALL_CELLS, descending_magnitude, gene_rows

# number of strongest regulators, and of strongest targets, of each gene and cluster in the table
N_STRONGEST = 20


def rank_regulators(dataset, field, genes, *, key="genes"):
    """Return the mean Jacobian between genes in each cluster, and a table of their strongest regulators and targets.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    field : VectorField
        Vector field on the principal components.
    genes : sequence of str
        Names of the genes.
    key : str
        Argument or option that names the genes, for error messages.

    Returns
    -------
    arrays : dict of str to ndarray
        `groups`, (n_groups,), all cells and the clusters; `genes`, (n_genes,); `jacobian`, float64
        (n_groups, n_genes, n_genes), with element [group, effector, regulator].
    table : pandas.DataFrame
        Columns `cluster`, `effector`, `regulator` and `value`: for each gene and cluster the Jacobian with the other
        genes in `genes` and with its 20 strongest regulators and targets among all genes, by decreasing absolute value.

    Raises
    ------
    InputError
        If a gene is missing, or the loadings of the genes are unknown.
    """
    rows = gene_rows(dataset, genes, key=key)
    one_group = np.zeros(len(dataset.cells), dtype=int)
    pc_jacobians = np.concatenate(
        [
            geometry.mean_jacobians(field, dataset.pcs, codes, n_groups)
            for codes, n_groups in ((one_group, 1), (dataset.codes, len(dataset.clusters)))
        ]
    )
    groups, loadings, all_genes = [ALL_CELLS, *dataset.clusters], dataset.pca.loadings, slice(None)
    jacobian = geometry.gene_jacobian(pc_jacobians, loadings, effectors=rows, regulators=rows)
    as_effectors = geometry.gene_jacobian(pc_jacobians, loadings, effectors=rows, regulators=all_genes)
    as_regulators = geometry.gene_jacobian(pc_jacobians, loadings, effectors=all_genes, regulators=rows)
    tables = []
    for group, cluster in enumerate(groups):
        for position, row in enumerate(rows):
            by_regulator, by_effector = as_effectors[group, position], as_regulators[group, :, position]
            for values, is_effector in ((by_regulator, True), (by_effector, False)):
                strongest = np.argsort(-np.abs(values), kind="stable")
                partners = np.union1d(strongest[:N_STRONGEST], rows)
                pair = (np.full(len(partners), row), partners)
                effectors, regulators = pair if is_effector else pair[::-1]
                tables.append(
                    pd.DataFrame(
                        {
                            "cluster": cluster,
                            "effector": dataset.genes[effectors],
                            "regulator": dataset.genes[regulators],
                            "value": values[partners],
                        }
                    )
                )
    table = pd.concat(tables).drop_duplicates(["cluster", "effector", "regulator"])
    table["cluster"] = pd.Categorical(table["cluster"], groups)
    table = table.sort_values(["cluster", "value"], key=descending_magnitude, kind="stable", ignore_index=True)
    return {"groups": np.array(groups), "genes": np.array(genes), "jacobian": jacobian}, table
