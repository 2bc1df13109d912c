"""Analyze a dynamo.h5ad with Dynamo, without changes to the file: writes answers.json and arrays.npz to a folder.

Runs in Dynamo's environment: `python -I topography_in_dynamo.py dynamo.h5ad folder`.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import dynamo as dyn
import numpy as np

path, folder = sys.argv[1], Path(sys.argv[2])
adata = ad.read_h5ad(path)
gene = adata.var_names[adata.var["use_for_transition"]][0]

dyn.tl.cell_velocities(adata)
dyn.tl.cell_velocities(adata, basis="pca")
dyn.vf.VectorField(adata, basis="pca", M=100)
dyn.vf.VectorField(adata, basis="umap", M=100)
dyn.vf.topography(adata, basis="umap")
dyn.pd.perturbation(adata, gene, [-100], emb_basis="umap")
# Jacobian between the first and the last gene in all cells: Dynamo selects loadings by row number
names = list(adata.var_names[[0, -1]])
dyn.vf.jacobian(adata, regulators=names, effectors=names)
dyn.pd.KO(adata, gene)

loadings, means = adata.uns["PCs"], adata.uns["pca_mean"]
expression = adata.obsm["X_pca"] @ loadings.T + means
changed = expression.copy()
changed[:, adata.var_names.get_loc(gene)] = -100
displacement = (changed - means) @ loadings - adata.obsm["X_pca"]
jacobian = adata.uns["jacobian_pca"]["jacobian"]
expected_effect = np.einsum("abc,cb->ca", jacobian, displacement)

keys = ("velocity_umap", "velocity_pca", "j_delta_x_perturbation", "velocity_umap_perturbation", "velocity_umap_KO")
np.savez(
    folder / "arrays.npz",
    expected_effect=expected_effect,
    jacobian_genes=adata.uns["jacobian_pca"]["jacobian_gene"],
    expected_jacobian_genes=np.einsum("ga,abc,hb->ghc", loadings[[0, -1]], jacobian, loadings[[0, -1]]),
    change_of_genes=adata.layers["j_delta_x_perturbation"].toarray(),
    **{key: np.asarray(adata.obsm[key]) for key in keys},
)
topography = adata.uns["VecFld_umap"]
answers = {
    "fixed_points": len(topography["Xss"]),
    "kinds": sorted({int(kind) for kind in topography["ftype"]}),
    "field_is_finite": bool(np.isfinite(topography["V"]).all() and np.isfinite(adata.uns["VecFld_pca"]["V"]).all()),
}
(folder / "answers.json").write_text(json.dumps(answers))
