"""scVelo's own dynamical model, fitted gene by gene by expectation maximization on `Ms` and `Mu`.

Bergen et al. 2020, doi:10.1038/s41587-020-0591-3; BSD 3-Clause. Both moments are used without scaling: rates,
`velocity` and `velocity_u` are in units of `Ms` and `Mu` per time. Time is stretched so that each gene's process lasts
20. scVelo clips velocities at `-Ms` and `-Mu`.
"""

import numpy as np
import scvelo


def fit(cells, *, folder, random_state=0, genes="velocity_genes", max_iter=10, min_likelihood=0.001, min_r2=0.01):
    """Fit rates, switching time and cell times of each gene. The fit is deterministic, and nothing is saved.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`. The function changes them.
    folder : Path
        Not used.
    random_state : int
        Not used.
    genes, max_iter, min_likelihood, min_r2
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it, of the genes that scVelo could fit.

    Raises
    ------
    ValueError
        If no gene can be fitted.
    """
    try:
        scvelo.tl.recover_dynamics(
            cells, var_names=genes, max_iter=max_iter, return_model=False, n_jobs=1, show_progress_bar=False
        )
    except ValueError as error:
        if "Variable name not found" not in str(error):
            raise
        raise ValueError(
            "No gene follows scVelo's steady-state line, so that none is left to be fitted: set `genes: all`."
        ) from error
    except UnboundLocalError as error:  # scVelo raises it if no gene could be fitted
        raise ValueError(
            "scVelo could fit no gene: each has too few cells with spliced and unspliced counts."
        ) from error

    scvelo.tl.velocity(cells, mode="dynamical", min_likelihood=min_likelihood, min_r2=min_r2, use_highly_variable=False)
    is_fitted = np.isfinite(cells.var["fit_alpha"].to_numpy())
    result = cells[:, is_fitted]
    columns = [name for name in result.var if name.startswith("fit_")] + ["velocity_genes"]
    return {
        "genes": result.var_names.to_numpy(),
        "layers": {name: result.layers[name] for name in ("velocity", "velocity_u", "fit_t", "fit_tau", "fit_tau_")},
        "var": result.var[columns],
    }
