"""A small prepared dataset and the parts of its result."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from support.counts import two_clusters

N_CELLS = 40


@pytest.fixture
def arrays():
    """Return the parts of a result, all with different values."""
    rng = np.random.default_rng(0)
    graph = sparse.random_array((N_CELLS, N_CELLS), density=0.2, rng=rng, format="csr", dtype=np.float32)
    graph.data -= 0.5
    paga = {
        "connectivities": sparse.csr_matrix([[0, 0.5], [0.5, 0]]),
        "transitions_confidence": sparse.csr_matrix([[0, 0], [0.25, 0]]),
        "sizes": np.array([20, 20]),
    }
    ranking = pd.DataFrame(
        {
            "cluster": ["a", "b"],
            "gene": ["gene1", "gene2"],
            "rank": pd.array([1, 1], dtype="Int64"),
            "score": [2.0, 3.0],
            "difference": [0.1, 0.2],
            "p_value": [0.01, 0.02],
            "q_value": [0.03, 0.04],
        }
    )
    return {
        "genes": {"velocity_genes": np.arange(12) < 6, "fit_alpha": rng.random(12)},
        "cells": {"velocity_length": rng.random(N_CELLS)},
        "graph": sparse.csr_matrix(graph),
        "self_transition": rng.random(N_CELLS).astype(np.float32),
        "embedding": {"X_umap": rng.normal(size=(N_CELLS, 2))},
        "velocity_embedding": rng.normal(size=(N_CELLS, 2)),
        "model_embeddings": {"X_latent": rng.normal(size=(N_CELLS, 3))},
        "model_versions": ["torch 2.9"],
        "cell_cycle": {
            "S_score": rng.random(N_CELLS),
            "G2M_score": rng.random(N_CELLS),
            "phase": np.arange(N_CELLS) % 3,
        },
        "differential_kinetics": (
            {"fit_diff_kinetics": np.array(["a", *[""] * 11]), "fit_pval_kinetics": rng.random(12)},
            rng.random((12, 2)),
            np.zeros((12, 2), dtype=bool),
        ),
        "ranking": ranking,
        "paga": paga,
        "clusters": "clusters",
        "warnings": ["a warning"],
        "options": {"dataset_name": "liver", "method_name": "mine", "method": {"method": "stochastic"}},
    }


@pytest.fixture
def prepared():
    prepared = two_clusters(N_CELLS)
    prepared.uns["ingest"] = {"source": "liver.h5ad", "format": "h5ad", "sha256": "hash of the source"}
    prepared.uns["prepare"] = {"fingerprint": "hash of the prepared data", "left_out": {"genes": 3}}
    return prepared
