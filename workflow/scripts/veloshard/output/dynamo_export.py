"""Export of a result to Dynamo, in the form of `dynamo.tl.extvelo` (version 1.5.3).

Dynamo's documentation does not mention that it needs M_u and the loadings and means of the principal components. That
was found by running it.
"""

import logging
from collections.abc import Mapping
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# layers of the export and the layers of the result that they hold
LAYERS = {"M_s": "Ms", "M_u": "Mu", "velocity_S": "velocity"}

# Dynamo's description of the experiment, without its entries that are None: no call of the documented analyses reads
# them, and AnnData 0.10, which Dynamo uses, cannot read None
EXPERIMENT = {
    "experiment_type": "conventional",
    "has_splicing": True,
    "has_labeling": False,
    "splicing_labeling": False,
    "has_protein": False,
}

DYNAMICS = {
    **EXPERIMENT,
    "filter_gene_mode": "final",
    "asspt_mRNA": "ss",
    "normalized": True,
    "model": "stochastic",
    "est_method": "auto",
    "use_smoothed": True,
    "NTR_vel": False,
    "log_unnormalized": True,
    "fraction_for_deg": False,
}


def as_dynamo_input(
    prepared: anndata.AnnData,
    *,
    genes: Mapping[str, NDArray[Any]],
    embedding: Mapping[str, NDArray[np.floating]],
) -> anndata.AnnData:
    """Return a result as AnnData for Dynamo's analyses, without the layers of `LAYERS`.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset that `save_prepared` wrote.
    genes : dict of str to ndarray, shape (n_genes,)
        Columns of a fit, among them `status` and `velocity_genes`.
    embedding : dict of str to ndarray, shape (n_cells, n_dims)
        The embedding by its key of `obsm`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        `X` is log1p of the normalized spliced counts. `obsm` has the embedding and `X_pca`, with at most as many
        components as velocity genes, because Dynamo cannot use more. `obsp` has the neighbor graph. `uns` has
        `dynamics` and `pp`, and `PCs` of shape (n_genes, n_pcs) and `pca_mean` of shape (n_genes,), for which
        X_pca = (X - pca_mean) PCs. `var` has `use_for_transition`, true for velocity genes, and `use_for_dynamics` and
        `use_for_pca`, both true for all genes, because Dynamo selects rows of the loadings by either of them.
        Principal components from the user's file have no loadings: then `PCs`, `pca_mean` and `use_for_pca` are left
        out with a warning, and `use_for_dynamics` is true for fitted genes.
    """
    is_velocity_gene = np.asarray(genes["velocity_genes"], dtype=bool)
    is_fitted = np.asarray(genes["status"]) == "ok"
    components = slice(min(prepared.obsm["X_pca"].shape[1], int(is_velocity_gene.sum())))
    gene_sets = {"use_for_dynamics": is_fitted, "use_for_transition": is_velocity_gene}
    uns: dict[str, Any] = {"dynamics": dict(DYNAMICS), "pp": dict(EXPERIMENT)}
    if "PCs" in prepared.varm:
        all_genes = np.ones(prepared.n_vars, dtype=bool)
        gene_sets |= {"use_for_dynamics": all_genes, "use_for_pca": all_genes}
        uns["PCs"] = prepared.varm["PCs"][:, components]
        uns["pca_mean"] = np.ravel(prepared.X.mean(axis=0, dtype=np.float64))
    else:
        log.warning(
            "the principal components are from the input file and have no loadings: perturbation, KO and gene-wise "
            "Jacobian of Dynamo cannot run on this file. Without the option pca, components with loadings are computed."
        )
    result = anndata.AnnData(
        X=prepared.X,
        obs=prepared.obs,
        var=prepared.var.assign(**{name: genes[name] for name in genes if name != "name"} | gene_sets),
        uns=uns,
        obsm={"X_pca": prepared.obsm["X_pca"][:, components], **embedding},
        obsp={name: prepared.obsp[name] for name in ("distances", "connectivities")},
    )
    n_pcs = result.obsm["X_pca"].shape[1]
    log.info("%d of %d genes for transitions, %d principal components", is_velocity_gene.sum(), result.n_vars, n_pcs)
    return result
