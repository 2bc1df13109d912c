"""Compute fate probabilities for a transition matrix with known fates: writes answers.json to a folder.

Runs in CellRank's environment: `python -I fates_in_cellrank.py transition_matrix.h5ad folder`. The cells form a chain
whose ends are the terminal states.
"""

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from cellrank.kernels import PrecomputedKernel

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS))
import compute_fate_probabilities

path, folder = sys.argv[1], Path(sys.argv[2])
cells = ad.read_h5ad(path)
n_cells = cells.n_obs
cells.obs["position"] = pd.Categorical(["left", *(n_cells - 2) * ["between"], "right"])
kernel = PrecomputedKernel(cells, obsp_key="transitions")


def exit_message(*arguments, **options):
    """Return the message with which `estimate_fate_probabilities` ends the program."""
    try:
        compute_fate_probabilities.estimate_fate_probabilities(*arguments, **options)
    except SystemExit as error:
        return str(error.code)


estimator, _ = compute_fate_probabilities.estimate_fate_probabilities(
    cells, kernel, clusters="position", terminal_states=["left", "right"]
)
fates = compute_fate_probabilities.tabulate_fate_probabilities(estimator)

# genes whose correlation with the fate probabilities is known
alternating = np.arange(n_cells) % 2
# a correlation of exactly 1 has no p-value
increasing = fates["right"] + 0.01 * alternating
expression = np.column_stack([increasing, -increasing, np.ones(n_cells), alternating])
names = ["increasing", "decreasing", "constant", "alternating"]
genes = ad.AnnData(expression, obs=cells.obs.copy(), var=pd.DataFrame(index=names))
kernel_of_genes = PrecomputedKernel(cells.obsp["transitions"], adata=genes)
estimator, _ = compute_fate_probabilities.estimate_fate_probabilities(
    genes, kernel_of_genes, clusters="position", terminal_states=["left", "right"]
)
drivers = compute_fate_probabilities.tabulate_lineage_drivers(estimator)

# the first five cells as a connected component without a terminal state
transition_matrix = cells.obsp["transitions"].toarray()
transition_matrix[:5, 5:] = transition_matrix[5:, :5] = 0
transition_matrix /= transition_matrix.sum(axis=1, keepdims=True)
cells.obs["last_cells"] = [*(n_cells - 2) * ["between"], "up", "down"]
disconnected = PrecomputedKernel(transition_matrix, adata=cells)

answers = {
    "cells": list(fates.index),
    "left": list(fates["left"]),
    "right": list(fates["right"]),
    "drivers": json.loads(drivers.to_json(orient="records", double_precision=15)),
    "messages": {
        "misspelled": exit_message(cells, kernel, clusters="position", terminal_states=["left", "rigth"]),
        "disconnected": exit_message(cells, disconnected, clusters="last_cells", terminal_states=["up", "down"]),
        "single": exit_message(cells, kernel, clusters="position", root="between", n_states=2),
        "none": exit_message(cells, kernel, clusters="position", root="left", n_states=n_cells + 1),
    },
}
(folder / "answers.json").write_text(json.dumps(answers))
