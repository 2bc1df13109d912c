"""Learn and analyze vector fields with Dynamo from a dynamo.h5ad: writes arrays.npz and answers.json to a folder.

Runs in Dynamo's environment: `python -I field_in_dynamo.py dynamo.h5ad folder`. It uses Dynamo's solver `scipy` in
double precision, because the default solver squares the condition number of the normal equations.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import dynamo as dyn
import numpy as np
from dynamo.vectorfield.utils import vecfld_from_adata

path, folder = sys.argv[1], Path(sys.argv[2])
adata = ad.read_h5ad(path)
for key in ("X_pca", "X_umap"):
    adata.obsm[key] = adata.obsm[key].astype(np.float64)
adata.uns["PCs"] = adata.uns["PCs"].astype(np.float64)
gene = adata.var_names[adata.var["use_for_transition"]][0]
dyn.tl.cell_velocities(adata)
dyn.tl.cell_velocities(adata, basis="pca")
arrays = {}
for basis in ("pca", "umap"):
    dyn.vf.VectorField(adata, basis=basis, M=50, lstsq_method="scipy")
    field = adata.uns[f"VecFld_{basis}"]
    arrays |= {f"{basis}_{key}": field[key] for key in ("X", "Y", "X_ctrl", "C", "V", "P", "beta", "E_traj")}
    for name in ("acceleration", "curvature", "divergence"):
        getattr(dyn.vf, name)(adata, basis=basis)
        arrays[f"{basis}_{name}"] = np.asarray(adata.obs[f"{name}_{basis}"])
dyn.vf.curl(adata, basis="umap")
arrays["umap_curl"] = np.asarray(adata.obs["curl_umap"])
dyn.vf.jacobian(adata, regulators=[gene], effectors=[gene])
arrays["pca_jacobian"] = np.moveaxis(adata.uns["jacobian_pca"]["jacobian"], -1, 0)
dyn.vf.topography(adata, basis="umap")
field = adata.uns["VecFld_umap"]
_, flow = vecfld_from_adata(adata, "umap")
arrays |= {"points": field["Xss"], "kinds": field["ftype"], "confidence": field["confidence"]}
# Dynamo also lists points at which its search has not converged
arrays["speed_at_points"] = np.linalg.norm(np.atleast_2d(flow(field["Xss"])), axis=1)

dyn.pd.perturbation(adata, gene, [-100], emb_basis="umap")
arrays |= {"effect": adata.obsm["j_delta_x_perturbation"], "effect_embedding": adata.obsm["velocity_umap_perturbation"]}
knocked_out = dyn.pd.KO(adata, gene)
arrays["knock_out"] = knocked_out.get_V()
arrays |= {"loadings": adata.uns["PCs"], "means": adata.uns["pca_mean"], "gene": adata.var_names.get_loc(gene)}
np.savez(folder / "arrays.npz", **arrays)
(folder / "answers.json").write_text(json.dumps({"gene": gene}))
