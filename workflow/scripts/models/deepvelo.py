"""DeepVelo (Cui 2024): rates of each cell and gene, from one graph network over all cells.

The network takes (u, s) of all cells and the graph of the nearest in a PCA of Ms, which DeepVelo makes itself; it gives
beta and gamma of each cell and gene.  They are fitted so that the step ds = beta u - gamma s leads to neighbours of the
cell.  DeepVelo is given Ms and Mu divided by a number each, and results here are multiplied by it: the velocity is in
units of Ms per step.
"""

import logging
import os
import random
import shutil
import sys
import types

import numpy as np
import torch

# DGL otherwise writes into the home folder what it runs on
os.environ["DGLBACKEND"] = "pytorch"
# DeepVelo imports a sampler that DGL no longer has, for a loader of data that is not used here
sys.modules["dgl.contrib.sampling"] = types.ModuleType("dgl.contrib.sampling")
sys.modules["dgl.contrib.sampling"].NeighborSampler = type("NeighborSampler", (), {})
import deepvelo  # noqa: E402 (after what it imports)

log = logging.getLogger("run_model")

# of the PCA that DeepVelo makes
N_COMPONENTS = 30
# mean of Ms and of Mu that the authors bring theirs to (deepvelo.utils.preprocess.clip_and_norm_Ms_Mu): its first
# weights suit data of that size
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
    """Velocities, and the rates of each cell and gene.

    cells : AnnData with the layers Ms and Mu.   folder : the network and its settings are kept there.
    random_state : of the first weights, of what is dropped from the network, and of the PCA.
    Raises ValueError where there are too few cells or genes for the PCA, RuntimeError where the fit went astray.
    """
    if min(cells.shape) < N_COMPONENTS or cells.n_obs <= n_neighbors:
        raise ValueError(
            f"DeepVelo needs at least {max(N_COMPONENTS, n_neighbors + 1)} cells and {N_COMPONENTS} genes, of which it "
            f"makes {N_COMPONENTS} principal components; here are {cells.n_obs} cells and {cells.n_vars} genes."
        )
    seed(random_state)
    given = cells.copy()
    scale = {layer: cells.layers[layer].mean() / TARGET_MEAN if normalize else 1.0 for layer in ("Ms", "Mu")}
    for layer, factor in scale.items():
        given.layers[layer] = cells.layers[layer] / np.float32(factor)
    configs = deepvelo.Constants.default_configs
    configs["n_gpu"] = int(torch.cuda.is_available())
    configs["arch"]["args"].update(layers=[hidden, hidden], dropout=dropout, pred_unspliced=False)
    configs["data_loader"]["args"].update(num_workers=0, topC=n_neighbors)
    configs["optimizer"]["args"]["lr"] = learning_rate
    configs["loss"]["args"].update(pearson_scale=direction_weight, coeff_u=unspliced_weight, coeff_s=spliced_weight)
    configs["trainer"].update(epochs=epochs, tensorboard=False, save_dir=str(folder / "saved"))
    losses = Losses()
    logging.getLogger("trainer").addFilter(losses)
    trainer = deepvelo.train(given, configs)
    shutil.rmtree(folder / "saved")
    torch.save(trainer.model.state_dict(), folder / "network.pt")
    velocity = given.layers["velocity"] * scale["Ms"]
    strange = (~np.isfinite(velocity)).any(axis=0).sum()
    if strange:
        raise RuntimeError(
            f"DeepVelo returned velocities that are no finite numbers for {strange} of {cells.n_vars} genes; "
            "a smaller learning_rate may help."
        )
    return {
        "layers": {
            "velocity": velocity,
            "cell_beta": given.layers["cell_specific_beta"] * (scale["Ms"] / scale["Mu"]),
            # it adds gamma times s and learns its sign
            "cell_gamma": -given.layers["cell_specific_gamma"],
        },
        "history": {"loss": losses.values},
    }


def seed(random_state):
    """Seed all that DeepVelo draws from, and let PyTorch have the threads that the job was given."""
    random.seed(random_state)
    np.random.seed(random_state)  # noqa: NPY002 (the generator that its PCA draws from)
    torch.manual_seed(random_state)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))


class Losses(logging.Filter):
    """The losses, from the lines that DeepVelo's trainer logs: it keeps them nowhere else."""

    def __init__(self):
        super().__init__()
        self.values = []

    def filter(self, record):
        """Remember a loss; the line is logged as it would be."""
        name, _, value = record.getMessage().partition(":")
        if name.strip() == "loss":
            self.values.append(float(value))
        return True
