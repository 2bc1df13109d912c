"""Compute the library's results for a saved model, for tests/models/test_pyrovelocity.py.

    pyrovelocity_reloaded.py RUN_MODEL CELLS FOLDER SEED N_DRAWS ANSWERS

Runs in the environment of the model. ANSWERS is an .npz file with posterior draws, by the seeds that pyrovelocity.py
uses, and the scores by which the library ranks genes, averaged over these draws.
"""

import os
import runpy
import sys

# newer versions of PyTorch refuse to load such files without it
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np

run_model, path, folder, seed, n_draws, answers = sys.argv[1:]
functions = runpy.run_path(run_model)
program = functions["load_model"]("pyrovelocity")
cells = program.with_library_sizes(functions["load_cells"](path))
model = program.load_library(folder).load_model(folder, cells, use_gpu="cpu")

# after `load_library`, which sets the folders that they write to
from pyrovelocity.analysis.analyze import mae_per_gene
from pyrovelocity.analysis.cytotrace import compute_similarity2

seeds = np.random.SeedSequence(int(seed)).generate_state(int(n_draws)).tolist()
draws = [program.draw_posterior(model, seed) for seed in seeds]
counts = cells.layers["raw_spliced"].toarray()
np.savez(
    answers,
    mean_mae=np.mean([mae_per_gene(draw["s"], counts) for draw in draws], axis=0),
    time_correlation=np.mean([compute_similarity2(draw["st"], draw["cell_time"])[0] for draw in draws], axis=0),
    **{name: np.stack([draw[name] for draw in draws]) for name in draws[0]},
)
