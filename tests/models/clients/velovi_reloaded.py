"""Compute the results of scvi-tools for a model that velovi.py saved, for tests/models/test_velovi.py.

    velovi_reloaded.py RUN_MODEL CELLS FOLDER SEED ANSWERS

Runs in the environment of the model. ANSWERS is an .npz file with the library's velocities of three posterior draws,
their directional uncertainty, and time and fitted expression of the draw with this seed, all for scaled moments.
"""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scvi.external import VELOVI
from scvi.external.velovi._model import _compute_directional_statistics_tensor

run_model, path, folder, seed, answers = sys.argv[1:]
functions = runpy.run_path(run_model)
velovi = functions["load_model"]("velovi")
scaling = pd.read_csv(Path(folder) / "scaling.csv", index_col="gene")
cells = functions["load_cells"](path)[:, scaling.index]
layers = {
    name: ((cells.layers[name] - scaling[f"{name}_minimum"].to_numpy()) / scaling[f"{name}_range"].to_numpy())
    for name in ("Ms", "Mu")
}
layers = {name: moments.astype(np.float32) for name, moments in layers.items()}
adata = AnnData(obs=cells.obs, var=pd.DataFrame(index=scaling.index), layers=layers)
model = VELOVI.load(str(Path(folder) / "velovi"), adata, accelerator="cpu")
# loaded once, because each pass through a data loader draws a random number
batches = list(model._make_data_loader(adata, batch_size=64))
model._make_data_loader = lambda **_: batches


def seeded(function, seed=int(seed), **options):
    """Return the result of a method of the library after setting the seed."""
    torch.manual_seed(seed)
    return function(return_numpy=True, **options)


@torch.inference_mode()
def decoded(name):
    """Return decoded parameters of the draw with this seed."""
    torch.manual_seed(int(seed))
    return torch.cat([model.module(tensors, compute_loss=False)[1][name] for tensors in batches]).numpy()


velocities = np.stack([seeded(model.get_velocity, int(seed) + number) for number in range(3)])
fitted_s, fitted_u = seeded(model.get_expression_fit)
statistics, _ = _compute_directional_statistics_tensor(velocities, n_jobs=1, n_cells=len(cells))

scaled = velovi.Scaled(np.asarray(scaling.index), layers["Ms"], layers["Mu"], *(None,) * 4)
draws = velovi.Draws(range(int(seed), int(seed) + 3), 64)
clusters = cells.obs["clusters"].to_numpy(dtype=str)
rng = np.random.default_rng(1)
permuted = [moments.copy() for moments in (scaled.spliced, scaled.unspliced)]
for cluster in set(clusters):
    rows = clusters == cluster
    for moments in permuted:
        moments[rows] = rng.permuted(moments[rows], axis=0)
permuted = scaled._replace(spliced=permuted[0], unspliced=permuted[1])
scores = {
    name: velovi.permutation_scores(
        model.module, moments, velovi.posterior_means(model.module, moments, draws), clusters, draws
    ).to_numpy()
    for name, moments in (("observed", scaled), ("permuted", permuted))
}

np.savez(
    answers,
    velocity=velocities,
    velocity_u=seeded(model.get_velocity, velo_mode="unspliced", clip=False),
    time=seeded(model.get_latent_time),
    fitted_s=fitted_s,
    fitted_u=fitted_u,
    **{name: decoded(f"px_{name}") for name in ("pi", "rho", "tau")},
    **{f"scores_{name}": values for name, values in scores.items()},
    **{name: column.to_numpy() for name, column in statistics.items()},
    **model.get_rates(),
)
