"""LatentVelo (Farrell 2023): splicing dynamics of a few latent variables, decoded into genes.

A network encodes Ms and Mu of a cell and of its neighbours into latent states zs and zu and a time between 0 and 1, at
which a solution of dz/dt = f(z) shall pass through them; a linear decoder takes zs back to the spliced genes.
LatentVelo works on Ms / (4 (1 + sd of the gene)), and its decoded velocity is in that unit: results here are multiplied
by 4 (1 + sd), and so in units of Ms per unit of the latent time.
"""

import logging
import os
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch

# imported by LatentVelo for a likelihood that is not used here: scvi-tools would be most of the environment
sys.modules["scvi"] = types.ModuleType("scvi")
sys.modules["scvi.distributions"] = types.ModuleType("scvi.distributions")
for distribution in ("NegativeBinomial", "ZeroInflatedNegativeBinomial"):
    setattr(sys.modules["scvi.distributions"], distribution, None)
from latentvelo.models.vae_model import VAE  # noqa: E402 (after what it imports)
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
    """Velocities of all genes, the latent time, and the latent states with their velocities.

    cells : AnnData with the layers Ms and Mu.   folder : the network of the best epoch is kept there.
    random_state : of the first weights, the batches, and all that is drawn.   n_draws : draws whose mean results are.
    Raises ValueError where no gene is fit to guide the fit, RuntimeError where the fit went astray.
    """
    torch.manual_seed(random_state)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    given, scale = as_latentvelo(cells)
    model = VAE(observed=cells.n_vars, latent_dim=latent_dims, zr_dim=regulatory_dims, h_dim=context_dims)
    scratch = folder / "epochs"
    with as_it_loads():
        try:
            _, of_states, of_paths = train_vae(
                model,
                given,
                epochs=epochs,
                learning_rate=learning_rate,
                batch_size=batch_size,
                grad_clip=1000,
                # it takes the folder to be below the one that it is run in
                name=os.path.relpath(scratch),
                random_seed=random_state,
            )
            latent, found = output_results(model, given, gene_velocity=True, samples=n_draws, embedding="embedding")
        except AssertionError as error:
            raise RuntimeError(
                f"LatentVelo could not solve its equations ({error}); a smaller learning_rate may help."
            ) from error
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    torch.save(model.state_dict(), folder / "network.pt")
    velocity = found.layers["velo_s"] * scale["Ms"]
    if not np.isfinite(velocity).all():
        raise RuntimeError(
            "LatentVelo returned velocities that are no finite numbers; a smaller learning_rate may help."
        )
    return {
        "layers": {"velocity": velocity, "velocity_u": found.layers["velo_u"] * scale["Mu"]},
        "obs": {"time": found.obs["latent_time"].to_numpy()},
        "obsm": {"X_latentvelo": latent.layers["spliced"], "velocity_latentvelo": latent.layers["spliced_velocity"]},
        "var": {
            "r2_states": found.var["R2"].to_numpy(),
            "r2_paths": found.var["R2_traj"].to_numpy(),
            "guiding_genes": found.var["velocity_genes"].to_numpy(dtype=bool),
        },
        "history": {"states": list(of_states), "paths": list(of_paths)},
    }


def as_latentvelo(cells):
    """The cells as LatentVelo's `standard_clean_recipe` would return them, and the scale of Ms and Mu, (n_genes,) each.

    With the moments and neighbours that were prepared in place of its own, and without its selection of genes.
    """
    given = cells.copy()
    scale = {layer: 4 * (1 + cells.layers[layer].std(axis=0)) for layer in ("Ms", "Mu")}
    measured = ((cells.layers["spliced"] + cells.layers["unspliced"]) > 0).toarray().astype(np.float32)
    for layer, moments in (("spliced", "Ms"), ("unspliced", "Mu")):
        given.layers[f"{layer}_counts"] = cells.layers[layer].toarray()
        given.obs[f"{layer}_size_factor"] = np.asarray(cells.layers[layer].sum(axis=1)).ravel()
        given.layers[layer] = cells.layers[moments] / scale[moments]
        given.layers[f"mask_{layer}"] = measured
    for column in ("batch_id", "celltype_id", "root", "terminal"):
        given.obs[column] = 0
    given.obsm["batch_onehot"] = np.ones((cells.n_obs, 1))
    given.obsp["adj"] = given.obsp["connectivities"]
    compute_velocity_genes(given, None)
    if not given.var["velocity_genes"].any():
        raise ValueError(
            f"LatentVelo finds none of {cells.n_vars} genes whose unspliced and spliced abundances go together, by "
            "which it guides the fit; more genes, or more neighbours, may help."
        )
    return given, scale


def as_it_loads():
    """Load on any device what LatentVelo would load on a GPU only."""
    load = torch.load
    return mock.patch.object(torch, "load", lambda path, **_: load(Path(path), map_location="cpu"))
