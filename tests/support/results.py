"""A simulated velocity result with all annotations that figures draw."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy import sparse
from veloshard.kinetics.splicing import spliced_at, unspliced_at

CLUSTERS = ["stem", "left", "right"]
COLORS = ["#ff0000", "#00ff00", "#0000ff"]


def simulated_result(n_cells=120, *, dynamical=True, clusters=True):
    """Return a result of cells that move from left to right, with two fitted genes and one gene without a fit.

    GeneA follows the splicing kinetics of its fit without noise.
    """
    rng = np.random.default_rng(0)
    time = np.linspace(0, 12, n_cells)
    alpha, beta, gamma, switch, scaling = 2.0, 0.5, 0.3, 6.0, 1.4
    on = time < switch
    u_switch, s_switch = unspliced_at(switch, 0, alpha, beta), spliced_at(switch, 0, 0, alpha, beta, gamma)
    u = np.where(on, unspliced_at(time, 0, alpha, beta), unspliced_at(np.abs(time - switch), u_switch, 0, beta))
    s = np.where(
        on,
        spliced_at(time, 0, 0, alpha, beta, gamma),
        spliced_at(np.abs(time - switch), s_switch, u_switch, 0, beta, gamma),
    )
    var = pd.DataFrame({"velocity_genes": [True, True, False]}, index=["GeneA", "GeneB", "Silent"])
    if dynamical:
        for name, value in {"alpha": alpha, "beta": beta / scaling, "gamma": gamma, "t_": switch}.items():
            var[f"fit_{name}"] = [value, value, np.nan]
        var["fit_scaling"] = [scaling, scaling, np.nan]
        var["fit_u0"] = var["fit_s0"] = [0.0, 0.0, np.nan]
        var["fit_likelihood"] = [0.3, 0.5, np.nan]
        if clusters:
            var["fit_diff_kinetics"], var["fit_pval_kinetics"] = ["left,right", "left", ""], [1e-4, 1e-9, np.nan]
    else:
        var["velocity_gamma"], var["velocity_r2"] = [0.8, 0.6, 0.0], [0.7, 0.9, -1.0]
    obs = pd.DataFrame(
        {
            "velocity_pseudotime": time / 12,
            "root_cells": np.exp(-time),
            "end_points": np.exp(time - 12),
            "velocity_confidence": rng.random(n_cells),
            "velocity_length": rng.random(n_cells) * 10,
            "initial_size_spliced": rng.uniform(800, 1200, n_cells),
            "initial_size_unspliced": rng.uniform(200, 300, n_cells),
            "n_genes": rng.integers(200, 400, n_cells),
            "unspliced_fraction": rng.uniform(0.1, 0.4, n_cells),
        },
        index=[f"cell{k}" for k in range(n_cells)],
    )
    params = {"embedding": "umap", "dataset": "liver", "method": "any"}
    uns = {"velocity_params": params}
    if clusters:
        obs["clusters"] = pd.Categorical(np.array(CLUSTERS)[(time // 4.001).astype(int)], CLUSTERS)
        params["clusters"], uns["clusters_colors"] = "clusters", np.array(COLORS)
        uns["paga"], uns["rank_velocity_genes"] = simulated_paga(), simulated_ranking()
    coordinates = np.column_stack([time, np.sin(time / 3)]) + 0.2 * rng.normal(size=(n_cells, 2))
    return SimpleNamespace(
        obs=obs,
        var=var,
        uns=uns,
        obsm={"X_umap": coordinates, "velocity_umap": np.tile([0.3, 0.02], (n_cells, 1))},
        layers={
            "Ms": np.column_stack([s, 2 * s, s]),
            "Mu": np.column_stack([u * scaling, u, u]),
            "velocity": np.column_stack([np.cos(time), -np.ones(n_cells), np.full(n_cells, np.nan)]),
        },
    )


def simulated_paga():
    """Return transitions from stem to left and from left to right; entry [i, j] is from j to i, as in scVelo."""
    transitions = np.zeros((3, 3))
    transitions[1, 0], transitions[2, 1] = 0.2, 0.4
    connectivities = np.array([[0, 0.5, 0.3], [0.5, 0, 0.5], [0.3, 0.5, 0]])
    return {
        "connectivities": sparse.csr_matrix(connectivities),
        "transitions_confidence": sparse.csr_matrix(transitions),
        "groups": "clusters",
    }


def simulated_ranking():
    """Return two genes per cluster; the second one has a p-value below 0.05 but not a q-value."""

    def table(first, second, kind):
        return np.rec.array([tuple(first), tuple(second)], dtype=[(name, kind) for name in CLUSTERS])

    return {
        "names": table(["GeneA"] * 3, ["GeneB"] * 3, object),
        "scores": table([9.0, 5.0, 7.0], [2.0, 1.0, 3.0], float),
        "pvals": table([1e-6] * 3, [0.03] * 3, float),
        "pvals_adj": table([1e-5] * 3, [0.2] * 3, float),
    }
