"""Compute scVelo's transition matrix of a velocity.h5ad: writes transitions.npz to a folder.

Runs in scVelo's environment: `python -I transitions_in_scvelo.py velocity.h5ad folder`.
"""

import sys
from pathlib import Path

import anndata as ad
import scvelo as scv
from scipy import sparse

path, folder = sys.argv[1], Path(sys.argv[2])
sparse.save_npz(folder / "transitions.npz", sparse.csr_matrix(scv.utils.get_transition_matrix(ad.read_h5ad(path))))
