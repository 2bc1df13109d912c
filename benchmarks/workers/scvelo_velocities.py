"""Compute velocities with scVelo, in its environment: `python scvelo_velocities.py prepared.h5ad velocities.h5`.

scVelo fits every gene, on the moments in the file. The output has one array (n_cells, n_genes) per form of the
velocity, and `fit_t`; NaN where scVelo has no value.
"""

import sys
import warnings

import anndata
import h5py
import numpy as np
import scvelo as scv

FORMS = {
    "scvelo fitted": {"mode": "dynamical"},
    "scvelo residual": {"mode": "dynamical_residuals"},
    "scvelo steady state": {"mode": "deterministic"},
    "scvelo stochastic": {"mode": "stochastic"},
}


def main():
    """Fit all genes, and write the velocities of each form."""
    warnings.filterwarnings("ignore")
    source, target = sys.argv[1:]
    adata = anndata.read_h5ad(source)
    scv.settings.verbosity = 0
    scv.tl.recover_dynamics(adata, var_names="all", n_jobs=1, show_progress_bar=False)
    with h5py.File(target, "w") as file:
        for name, options in FORMS.items():
            scv.tl.velocity(adata, **options)
            file[name] = np.asarray(adata.layers["velocity"], dtype=float)
        file["fit_t"] = adata.layers["fit_t"]


if __name__ == "__main__":
    main()
