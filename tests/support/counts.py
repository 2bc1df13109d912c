"""Small random counts to test on, as in a user's file."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse


def two_clusters(n_cells=40, n_genes=12, seed=0):
    """Return an AnnData of two clusters, `a` and `b`, with an embedding. No cell and no gene is empty."""
    rng = np.random.default_rng(seed)
    clusters = np.where(np.arange(n_cells) < n_cells // 2, "a", "b")
    # means differ between genes, and for half of the genes also between clusters: principal components are defined
    mean = rng.uniform(2, 6, n_genes) * np.where((clusters == "a")[:, None], np.arange(n_genes) % 2 + 1, 1)
    counts = {name: rng.poisson(mean * fraction) + 1 for name, fraction in (("spliced", 1), ("unspliced", 0.3))}
    return AnnData(
        obs=pd.DataFrame({"clusters": clusters}, index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
        layers={name: sparse.csr_matrix(values.astype(np.float32)) for name, values in counts.items()},
        obsm={"X_umap": rng.normal(size=(n_cells, 2))},
    )


def unrelated_clusters(
    n_cells=600, n_genes=120, n_clusters=4, *, depth=1500, depth_spread=0.3, rate_spread=0.5, noise=0.0, seed=0
):
    """Return an AnnData of clusters at independent steady states, between which there is no dynamics.

    Every gene is at u = alpha / beta, s = alpha / gamma with an alpha per cluster. Counts are Poisson draws around it.

    Parameters
    ----------
    n_cells, n_genes, n_clusters : int
        Sizes of the dataset.
    depth, depth_spread, noise : float
        As in `veloshard.simulation.simulate`.
    rate_spread : float
        Standard deviation of log gamma between clusters.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
    """
    rng = np.random.default_rng(seed)
    cluster = rng.integers(n_clusters, size=n_cells)
    alpha = rng.lognormal(0, 1, n_genes) * rng.lognormal(0, 1, (n_clusters, n_genes))
    beta = rng.lognormal(-0.5, 0.4, n_genes)
    gamma = rng.lognormal(-1.2, 0.4, n_genes) * rng.lognormal(0, rate_spread, (n_clusters, n_genes))
    layers = {"spliced": (alpha / gamma)[cluster], "unspliced": (0.6 * alpha / beta)[cluster]}
    size = depth * rng.lognormal(0, depth_spread, (n_cells, 1)) / sum(layers.values()).sum(axis=1).mean()
    for name, mean in layers.items():
        variation = rng.gamma(noise**-2, noise**2, mean.shape) if noise > 0 else 1.0
        layers[name] = sparse.csr_matrix(rng.poisson(size * mean * variation).astype(np.int32))
    return AnnData(
        obs=pd.DataFrame({"clusters": [f"type {k}" for k in cluster]}, index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
        layers=layers,
    )
