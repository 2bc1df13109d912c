"""What the library says of a saved model: pyrovelocity_reloaded.py RUN_MODEL CELLS FOLDER SEED N_SAMPLES ANSWERS.

For the Python of envs/pyrovelocity.yaml.  Answers, one .npz: samples of the posterior, with the seeds that
pyrovelocity.py draws them with, and what the library ranks genes by, of these samples.
"""

import os
import runpy
import sys

# the library asks PyTorch for what newer ones refuse to load
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np

run_model, path, folder, seed, n_samples, answers = sys.argv[1:]
read = runpy.run_path(run_model)
program = read["load_model"]("pyrovelocity")
cells = program.with_library_sizes(read["load_cells"](path))
model = program.load_library(folder).load_model(folder, cells, use_gpu="cpu")

# once the folders that they write to are set
from pyrovelocity.analysis.analyze import mae_per_gene  # noqa: E402
from pyrovelocity.analysis.cytotrace import compute_similarity2  # noqa: E402

seeds = np.random.SeedSequence(int(seed)).generate_state(int(n_samples)).tolist()
draws = [program.draw(model, seed) for seed in seeds]
counts = cells.layers["raw_spliced"].toarray()
np.savez(
    answers,
    mean_mae=np.mean([mae_per_gene(draw["s"], counts) for draw in draws], axis=0),
    time_correlation=np.mean([compute_similarity2(draw["st"], draw["cell_time"])[0] for draw in draws], axis=0),
    **{name: np.stack([draw[name] for draw in draws]) for name in draws[0]},
)
