"""Compute a transition matrix with CellRank from a velocity.h5ad, without changes: writes answers.json to a folder.

Runs in CellRank's environment: `python -I open_in_cellrank.py velocity.h5ad folder`.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
from cellrank.kernels import VelocityKernel

path, folder = sys.argv[1], Path(sys.argv[2])
adata = ad.read_h5ad(path)

kernel = VelocityKernel(adata).compute_transition_matrix(show_progress_bar=False)
kernel.write_to_adata()
adata.write_h5ad(folder / "written.h5ad")
reloaded = VelocityKernel.from_adata(ad.read_h5ad(folder / "written.h5ad"), key="T_fwd")

transitions = kernel.transition_matrix
answers = {
    "format": transitions.format,
    "shape": transitions.shape,
    "smallest": float(transitions.data.min()),
    "largest_error_of_row_sums": float(np.abs(transitions.sum(axis=1) - 1).max()),
    "largest_difference_after_writing": float(abs(reloaded.transition_matrix - transitions).max()),
}
(folder / "answers.json").write_text(json.dumps(answers))
