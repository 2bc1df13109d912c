"""Rank genes and compute PAGA with scVelo from a velocity.h5ad: writes answers.json to a folder.

Runs in scVelo's environment: `python -I rank_in_scvelo.py velocity.h5ad folder`.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import anndata as ad
import numpy as np
import scvelo as scv

path, folder = sys.argv[1], Path(sys.argv[2])
adata = ad.read_h5ad(path)
clusters = adata.uns["velocity_params"]["clusters"]
answers = {}

# with scVelo's default filters, and without filters, which leaves the velocity genes
no_filters = {f"min_{bound}": -np.inf for bound in ("counts", "r2", "corr", "dispersion", "likelihood")}
for name, bounds in (("filtered", {}), ("unfiltered", no_filters)):
    scv.tl.rank_velocity_genes(adata, groupby=clusters, n_genes=adata.n_vars, **bounds)
    ranked = adata.uns["rank_velocity_genes"]
    answers[name] = {
        cluster: {"names": ranked["names"][cluster].tolist(), "scores": ranked["scores"][cluster].tolist()}
        for cluster in ranked["names"].dtype.names
    }

if "fit_tau" in adata.layers:
    # scVelo's scores are rounded to two decimals, unlike the likelihoods from which it computes them
    from scvelo.tools._em_model_utils import get_divergence

    fitted = adata[:, adata.var["fit_alpha"].notna()]
    likelihood = get_divergence(fitted, mode="gene_likelihood", use_connectivities=True, clusters=adata.obs[clusters])
    answers["likelihood"] = {
        cluster: dict(zip(fitted.var_names, values.tolist(), strict=True))
        for cluster, values in zip(adata.obs[clusters].cat.categories, likelihood, strict=True)
    }

priors = {"time": {}, "time_and_ends": {"root_key": "root_cells", "end_key": "end_points"}}
# PAGA needs igraph, which is not among scVelo's requirements
for name, options in priors.items() if find_spec("igraph") else ():
    paga = scv.tl.paga(adata, groups=clusters, copy=True, **options).uns["paga"]
    matrices = ("connectivities", "connectivities_tree", "transitions_confidence")
    answers[f"paga_{name}"] = {matrix: paga[matrix].toarray().tolist() for matrix in matrices}
    answers[f"paga_{name}"]["threshold"] = float(paga["threshold"])

(folder / "answers.json").write_text(json.dumps(answers))
