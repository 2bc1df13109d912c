"""DeepVelo (Cui 2024): rates of each cell and gene, from one graph network over all cells.

The network takes (u, s) of all cells and the graph of nearest neighbors in a PCA of Ms, which DeepVelo computes itself.
It returns beta and gamma of each cell and gene, fitted so that the step ds = beta u - gamma s leads to neighbors of the
cell. DeepVelo is given Ms and Mu, each divided by a constant. The results here are multiplied by it again: the velocity
is in units of Ms per step.
"""

import logging
import os
import random
import shutil
import sys
import types

import numpy as np
import torch

# without this, DGL writes the name of its backend into the home folder
os.environ["DGLBACKEND"] = "pytorch"
# DeepVelo imports a sampler that DGL no longer has, for a data loader that is not used here
sys.modules["dgl.contrib.sampling"] = types.ModuleType("dgl.contrib.sampling")
sys.modules["dgl.contrib.sampling"].NeighborSampler = type("NeighborSampler", (), {})
import deepvelo  # noqa: E402 (after the module that it imports)

log = logging.getLogger("run_model")

# number of principal components that DeepVelo computes
N_COMPONENTS = 30
# mean to which the authors scale Ms and Mu (deepvelo.utils.preprocess.clip_and_norm_Ms_Mu): the initial weights of the
# network suit data of that size
TARGET_MEAN = 0.4


def fit(
    cells,
    *,
    folder,
    random_state=0,
    epochs=100,
    learning_rate=0.001,
    hidden=64,
    dropout=0.2,
    normalize=True,
    n_neighbors=30,
    direction_weight=18.0,
    unspliced_weight=1.0,
    spliced_weight=1.0,
):
    """Return velocities, and the rates of each cell and gene.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`.
    folder : Path
        Folder in which the trained network is saved, as `network.pt`.
    random_state : int
        Seed of the initial weights, of dropout and of the PCA.
    epochs, learning_rate, hidden, dropout, normalize, n_neighbors, direction_weight, unspliced_weight, spliced_weight
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it.

    Raises
    ------
    ValueError
        If there are too few cells or genes for the PCA.
    RuntimeError
        If velocities are not finite.
    """
    if min(cells.shape) < N_COMPONENTS or cells.n_obs <= n_neighbors:
        raise ValueError(
            f"DeepVelo computes {N_COMPONENTS} principal components, and needs at least "
            f"{max(N_COMPONENTS, n_neighbors + 1)} cells and {N_COMPONENTS} genes; here are {cells.n_obs} cells and "
            f"{cells.n_vars} genes."
        )
    set_seed_and_threads(random_state)
    scaled = cells.copy()
    scale = {layer: cells.layers[layer].mean() / TARGET_MEAN if normalize else 1.0 for layer in ("Ms", "Mu")}
    for layer, factor in scale.items():
        scaled.layers[layer] = cells.layers[layer] / np.float32(factor)
    configs = deepvelo.Constants.default_configs
    configs["n_gpu"] = int(torch.cuda.is_available())
    configs["arch"]["args"].update(layers=[hidden, hidden], dropout=dropout, pred_unspliced=False)
    configs["data_loader"]["args"].update(num_workers=0, topC=n_neighbors)
    configs["optimizer"]["args"]["lr"] = learning_rate
    configs["loss"]["args"].update(pearson_scale=direction_weight, coeff_u=unspliced_weight, coeff_s=spliced_weight)
    configs["trainer"].update(epochs=epochs, tensorboard=False, save_dir=str(folder / "saved"))
    losses = Losses()
    logging.getLogger("trainer").addFilter(losses)
    trainer = deepvelo.train(scaled, configs)
    shutil.rmtree(folder / "saved")
    torch.save(trainer.model.state_dict(), folder / "network.pt")
    velocity = scaled.layers["velocity"] * scale["Ms"]
    n_not_finite = (~np.isfinite(velocity)).any(axis=0).sum()
    if n_not_finite:
        raise RuntimeError(
            f"DeepVelo returned velocities that are not finite for {n_not_finite} of {cells.n_vars} genes; "
            "a smaller learning_rate may help."
        )
    return {
        "layers": {
            "velocity": velocity,
            "cell_beta": scaled.layers["cell_specific_beta"] * (scale["Ms"] / scale["Mu"]),
            # DeepVelo adds gamma times s, and learns a negative gamma
            "cell_gamma": -scaled.layers["cell_specific_gamma"],
        },
        "history": {"loss": losses.values},
    }


def set_seed_and_threads(random_state):
    """Seed all random generators that DeepVelo uses, and let PyTorch use the threads of the job."""
    random.seed(random_state)
    np.random.seed(random_state)  # noqa: NPY002 (the generator that its PCA draws from)
    torch.manual_seed(random_state)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))


class Losses(logging.Filter):
    """Collect the losses from the lines that DeepVelo's trainer logs, which are their only record."""

    def __init__(self):
        super().__init__()
        self.values = []

    def filter(self, record):
        """Store the loss if the line has one. The line is logged in any case."""
        name, _, value = record.getMessage().partition(":")
        if name.strip() == "loss":
            self.values.append(float(value))
        return True
