"""What CellRank and our program make of a walk whose fates are known: answers.json in a folder.

Runs in CellRank's own environment: `python -I fates_in_cellrank.py transitions.h5ad folder`, of a chain of cells whose
ends are the terminal states.
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
import compute_fates  # noqa: E402

path, folder = sys.argv[1], Path(sys.argv[2])
cells = ad.read_h5ad(path)
n_cells = cells.n_obs
cells.obs["place"] = pd.Categorical(["left", *(n_cells - 2) * ["between"], "right"])
kernel = PrecomputedKernel(cells, obsp_key="transitions")


def said_by(function, *arguments, **options):
    """What a call says as it ends the program."""
    try:
        function(*arguments, **options)
    except SystemExit as failure:
        return str(failure.code)


estimator, _ = compute_fates.estimate_fates(cells, kernel, clusters="place", terminal_states=["left", "right"])
fates = compute_fates.probabilities(estimator)

# genes of which is known how they go with the fates
other = np.arange(n_cells) % 2
# a correlation of exactly one has no p
nearly = fates["right"] + 0.01 * other
expression = np.column_stack([nearly, -nearly, np.ones(n_cells), other])
genes = ad.AnnData(expression, obs=cells.obs.copy(), var=pd.DataFrame(index=["with", "against", "constant", "other"]))
kernel_of_genes = PrecomputedKernel(cells.obsp["transitions"], adata=genes)
estimator, _ = compute_fates.estimate_fates(genes, kernel_of_genes, clusters="place", terminal_states=["left", "right"])
drivers = compute_fates.lineage_drivers(estimator)

# the first five cells on their own, where no terminal state is
apart = cells.obsp["transitions"].toarray()
apart[:5, 5:] = apart[5:, :5] = 0
apart /= apart.sum(axis=1, keepdims=True)
cells.obs["apart"] = [*(n_cells - 2) * ["between"], "up", "down"]
apart = PrecomputedKernel(apart, adata=cells)
find = compute_fates.estimate_fates

answers = {
    "cells": list(fates.index),
    "left": list(fates["left"]),
    "right": list(fates["right"]),
    "drivers": json.loads(drivers.to_json(orient="records", double_precision=15)),
    "said": {
        "misspelt": said_by(find, cells, kernel, clusters="place", terminal_states=["left", "rigth"]),
        "apart": said_by(find, cells, apart, clusters="apart", terminal_states=["up", "down"]),
        "single": said_by(find, cells, kernel, clusters="place", root="between", n_states=2),
        "none": said_by(find, cells, kernel, clusters="place", root="left", n_states=n_cells + 1),
    },
}
(folder / "answers.json").write_text(json.dumps(answers))
