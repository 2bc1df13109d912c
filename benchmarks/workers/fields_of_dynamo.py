"""Learn vector fields with Dynamo from a dynamo.h5ad, with both of its solvers, and perturb a gene: writes fields.npz.

Runs in Dynamo's environment: `python -I fields_of_dynamo.py dynamo.h5ad folder gene`.
"""

import sys
from pathlib import Path

import anndata as ad
import dynamo as dyn
import numpy as np

path, folder, gene = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
adata = ad.read_h5ad(path)
for key in ("X_pca", "X_umap"):
    adata.obsm[key] = adata.obsm[key].astype(np.float64)
adata.uns["PCs"] = adata.uns["PCs"].astype(np.float64)
dyn.tl.cell_velocities(adata)
dyn.tl.cell_velocities(adata, basis="pca")
arrays = {}
default = max(min(50, adata.n_obs), int(0.05 * adata.n_obs) + 1)
for basis in ("pca", "umap"):
    arrays |= {f"{basis}_X": adata.obsm[f"X_{basis}"], f"{basis}_Y": adata.obsm[f"velocity_{basis}"]}
    for solver in ("drouin", "scipy"):
        for n_control_points in (50, default):
            dyn.vf.VectorField(adata, basis=basis, M=n_control_points, lstsq_method=solver)
            field, name = adata.uns[f"VecFld_{basis}"], f"{basis}/{solver}/{n_control_points}"
            arrays |= {f"{name}_{key}": field[key] for key in ("X_ctrl", "C", "V", "beta")}
            arrays[f"{name}_E"] = field["E_traj"]
            if basis == "umap":
                dyn.vf.topography(adata, basis="umap")
                arrays[f"{name}_points"] = adata.uns["VecFld_umap"]["Xss"]
field = adata.uns["VecFld_pca"]
arrays |= {f"perturbed_{key}": field[key] for key in ("X_ctrl", "C", "beta")}
for value in (-100.0, 0.0):
    # otherwise Dynamo would reuse the Jacobian of the previous perturbation
    adata.uns.pop("jacobian_pca", None)
    dyn.pd.perturbation(adata, gene, [value], emb_basis="umap")
    arrays[f"effect_embedding_{value:g}"] = adata.obsm["velocity_umap_perturbation"]
distances = adata.obsp["distances"].tocsr()
arrays |= {"data": distances.data, "indices": distances.indices, "indptr": distances.indptr}
arrays |= {"loadings": adata.uns["PCs"], "means": adata.uns["pca_mean"], "gene": adata.var_names.get_loc(gene)}
np.savez(folder / "fields.npz", **arrays)
