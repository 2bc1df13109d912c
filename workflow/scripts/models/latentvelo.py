"""LatentVelo (Farrell 2023): splicing dynamics of a few latent variables, decoded into genes.

A network encodes Ms and Mu of a cell and of its neighbors into latent states zs and zu and a time between 0 and 1. A
solution of dz/dt = f(z) is trained to pass through these states at that time. A linear decoder maps zs to the spliced
genes. LatentVelo works on Ms / (4 (1 + sd of the gene)), and its decoded velocity is in that unit. The results here are
multiplied by 4 (1 + sd): they are in units of Ms per unit of the latent time.
"""

import logging
import os
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch

# LatentVelo imports them for a likelihood that is not used here. scvi-tools would be most of the environment.
sys.modules["scvi"] = types.ModuleType("scvi")
sys.modules["scvi.distributions"] = types.ModuleType("scvi.distributions")
for distribution in ("NegativeBinomial", "ZeroInflatedNegativeBinomial"):
    setattr(sys.modules["scvi.distributions"], distribution, None)
from latentvelo.models.vae_model import VAE  # noqa: E402 (after the modules that it imports)
from latentvelo.output_results import output_results  # noqa: E402
from latentvelo.trainer import train_vae  # noqa: E402
from latentvelo.velocity_genes import compute_velocity_genes  # noqa: E402

log = logging.getLogger("run_model")


def fit(
    cells,
    *,
    folder,
    random_state=0,
    epochs=50,
    learning_rate=0.01,
    batch_size=200,
    latent_dims=20,
    regulatory_dims=2,
    context_dims=2,
    n_draws=10,
):
    """Return velocities of all genes, the latent time, and the latent states with their velocities.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`.
    folder : Path
        Folder in which the network of the best epoch is saved, as `network.pt`.
    random_state : int
        Seed of the initial weights, the batches and all draws.
    epochs, learning_rate, batch_size, latent_dims, regulatory_dims, context_dims
        Options of the model, as described in its schema.
    n_draws : int
        Number of draws over which results are averaged.

    Returns
    -------
    dict
        Result as `run_model` takes it.

    Raises
    ------
    ValueError
        If LatentVelo selects no genes to guide the fit.
    RuntimeError
        If LatentVelo cannot solve its equations, or velocities are not finite.
    """
    torch.manual_seed(random_state)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    adata, scale = as_latentvelo(cells)
    model = VAE(observed=cells.n_vars, latent_dim=latent_dims, zr_dim=regulatory_dims, h_dim=context_dims)
    scratch = folder / "epochs"
    with loading_on_cpu():
        try:
            _, state_losses, trajectory_losses = train_vae(
                model,
                adata,
                epochs=epochs,
                learning_rate=learning_rate,
                batch_size=batch_size,
                grad_clip=1000,
                # LatentVelo takes the path as relative to the current folder
                name=os.path.relpath(scratch),
                random_seed=random_state,
            )
            latent, results = output_results(model, adata, gene_velocity=True, samples=n_draws, embedding="embedding")
        except AssertionError as error:
            raise RuntimeError(
                f"LatentVelo could not solve its equations ({error}); a smaller learning_rate may help."
            ) from error
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    torch.save(model.state_dict(), folder / "network.pt")
    velocity = results.layers["velo_s"] * scale["Ms"]
    if not np.isfinite(velocity).all():
        raise RuntimeError("LatentVelo returned velocities that are not finite; a smaller learning_rate may help.")
    return {
        "layers": {"velocity": velocity, "velocity_u": results.layers["velo_u"] * scale["Mu"]},
        "obs": {"time": results.obs["latent_time"].to_numpy()},
        "obsm": {"X_latentvelo": latent.layers["spliced"], "velocity_latentvelo": latent.layers["spliced_velocity"]},
        "var": {
            "r2_states": results.var["R2"].to_numpy(),
            "r2_paths": results.var["R2_traj"].to_numpy(),
            "guiding_genes": results.var["velocity_genes"].to_numpy(dtype=bool),
        },
        "history": {"states": list(state_losses), "paths": list(trajectory_losses)},
    }


def as_latentvelo(cells):
    """Return cells as from LatentVelo's `standard_clean_recipe`, but with our moments, neighbors and genes.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`.

    Returns
    -------
    adata : AnnData, shape (n_cells, n_genes)
        Copy of the cells with the fields that LatentVelo reads.
    scale : dict of str to ndarray, shape (n_genes,)
        Factors by which `Ms` and `Mu` were divided.

    Raises
    ------
    ValueError
        If LatentVelo selects no genes to guide the fit.
    """
    adata = cells.copy()
    scale = {layer: 4 * (1 + cells.layers[layer].std(axis=0)) for layer in ("Ms", "Mu")}
    is_measured = ((cells.layers["spliced"] + cells.layers["unspliced"]) > 0).toarray().astype(np.float32)
    for layer, moments in (("spliced", "Ms"), ("unspliced", "Mu")):
        adata.layers[f"{layer}_counts"] = cells.layers[layer].toarray()
        adata.obs[f"{layer}_size_factor"] = np.asarray(cells.layers[layer].sum(axis=1)).ravel()
        adata.layers[layer] = cells.layers[moments] / scale[moments]
        adata.layers[f"mask_{layer}"] = is_measured
    for column in ("batch_id", "celltype_id", "root", "terminal"):
        adata.obs[column] = 0
    adata.obsm["batch_onehot"] = np.ones((cells.n_obs, 1))
    adata.obsp["adj"] = adata.obsp["connectivities"]
    compute_velocity_genes(adata, None)
    if not adata.var["velocity_genes"].any():
        raise ValueError(
            f"LatentVelo guides its fit by genes whose unspliced and spliced abundances are correlated, and finds none "
            f"among {cells.n_vars} genes; more genes, or more neighbors, may help."
        )
    return adata, scale


def loading_on_cpu():
    """Return a context in which PyTorch loads files on the CPU. LatentVelo would load them on a GPU only."""
    load = torch.load
    return mock.patch.object(torch, "load", lambda path, **_: load(Path(path), map_location="cpu"))
