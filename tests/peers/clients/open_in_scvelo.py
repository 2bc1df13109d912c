"""Analyze a velocity.h5ad with scVelo, without changes: writes answers.json and figures to a folder.

Runs in scVelo's environment: `python -I open_in_scvelo.py velocity.h5ad folder`.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import scvelo as scv

path, folder = sys.argv[1], Path(sys.argv[2])
adata = ad.read_h5ad(path)
basis = next(key.removeprefix("velocity_") for key in adata.obsm if key.startswith("velocity_"))
gene = adata.var_names[adata.var["velocity_genes"]][0]
answers = {}

scv.pl.velocity_embedding_stream(adata, basis=basis, show=False, save=f"{folder}/stream.png")
scv.pl.velocity(adata, gene, basis=basis, show=False, save=f"{folder}/phase_portrait.png")

scores = scv.tl.velocity_confidence(adata, copy=True).obs
for score in ("velocity_confidence", "velocity_length"):
    difference = np.abs(scores[score] - adata.obs[score])
    answers[score] = {
        "largest_difference": float(difference.max()),
        "fraction_compared": float(difference.notna().mean()),
    }

graph = scv.tl.velocity_graph(adata, n_jobs=1, show_progress_bar=False, copy=True).uns
for part in ("velocity_graph", "velocity_graph_neg"):
    answers[part] = {
        "largest_difference": float(abs(graph[part] - adata.uns[part]).max()),
        "edges": int(adata.uns[part].nnz),
    }

if "fit_t" in adata.layers:
    latent_time = scv.tl.latent_time(adata, copy=True).obs["latent_time"]
    answers["latent_time"] = {
        "spearman": float(latent_time.corr(adata.obs["latent_time"], method="spearman")),
        "finite": bool(np.isfinite(latent_time).all()),
    }

(folder / "answers.json").write_text(json.dumps(answers))
