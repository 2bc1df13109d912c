"""Results in the form in which Dynamo takes velocities that were made elsewhere (`dynamo.tl.extvelo`, version 1.5.3).

What it needs beyond its documentation was found by running it: M_u, the loadings and means of the principal components.
"""

import logging

import anndata
import numpy as np

log = logging.getLogger(__name__)

# layers of its file by those of ours
LAYERS = {"M_s": "Ms", "M_u": "Mu", "velocity_S": "velocity"}
# how it says of itself that an experiment was made; those of its entries that are None are left out: they say nothing,
# no call asks for them, and its AnnData (0.10) cannot read them
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


def dynamo_input(prepared, *, genes, places):
    """AnnData on which Dynamo's analyses run, without the layers of `LAYERS`.

    Parameters
    ----------
    prepared : anndata.AnnData, (n_cells, n_genes)
        As `preprocess.prepare` returns it.
    genes : dict
        Columns (n_genes,) of a fit, among them `status` and `velocity_genes`.
    places : dict
        The embedding, (n_cells, n_dims), by its key of `obsm`.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        `X`: log1p of normalised spliced counts.  `var`: `use_for_transition`, the velocity genes; `use_for_dynamics`
        and `use_for_pca`, all genes, because Dynamo takes rows of the loadings by either.  `obsm`: `X_pca`, as many
        components as there are velocity genes at most, without which it refuses to project onto them; the embedding.
        `uns`: `PCs` (n_genes, n_pcs) and `pca_mean` (n_genes,), with X_pca = (X - pca_mean) PCs; `dynamics`, `pp`.
        `obsp`: distances, connectivities.  Where the user brought the components there are no loadings: `PCs`,
        `pca_mean` and `use_for_pca` are left out with a warning, and `use_for_dynamics` are the fitted genes.
    """
    chosen = np.asarray(genes["velocity_genes"], dtype=bool)
    fitted = np.asarray(genes["status"]) == "ok"
    components = slice(min(prepared.obsm["X_pca"].shape[1], int(chosen.sum())))
    marks = {"use_for_dynamics": fitted, "use_for_transition": chosen}
    uns = {"dynamics": dict(DYNAMICS), "pp": dict(EXPERIMENT)}
    if "PCs" in prepared.varm:
        everything = np.ones(prepared.n_vars, dtype=bool)
        marks |= {"use_for_dynamics": everything, "use_for_pca": everything}
        uns["PCs"] = prepared.varm["PCs"][:, components]
        uns["pca_mean"] = np.ravel(prepared.X.mean(axis=0, dtype=np.float64))
    else:
        log.warning(
            "the principal components were brought and have no loadings: Dynamo's perturbation, KO and gene-wise "
            "Jacobian cannot run on this file. Leave out the dataset's option pca for them."
        )
    found = anndata.AnnData(
        X=prepared.X,
        obs=prepared.obs,
        var=prepared.var.assign(**{name: genes[name] for name in genes if name != "name"} | marks),
        uns=uns,
        obsm={"X_pca": prepared.obsm["X_pca"][:, components], **places},
        obsp={name: prepared.obsp[name] for name in ("distances", "connectivities")},
    )
    log.info("%d of %d genes for transitions, %d components", chosen.sum(), len(chosen), found.obsm["X_pca"].shape[1])
    return found
