"""UniTVelo (Gao 2022): spliced abundance of each gene is a bell-shaped curve of a time that all genes share.

s(t) = h exp(-a (t - peak)^2) + offset, and ds/dt is its derivative; u(t) = (ds/dt + gamma s) / beta + u0.
UniTVelo scales Mu to the spread of Ms and does not scale Ms. Its velocity is therefore in units of Ms per unit of its
time, in which the curves span 0 to 1. UniTVelo itself scales its rates back.
"""

import logging
import os
import tempfile

import numpy as np

# read when TensorFlow and tqdm are imported
os.environ["TF_USE_LEGACY_KERAS"] = "True"
os.environ["TQDM_DISABLE"] = "1"
import tensorflow as tf
import unitvelo.model
import unitvelo.velocity
from unitvelo.utils import init_config_summary

log = logging.getLogger("run_model")

FIT_OPTION_OF_MODE = {"unified": "1", "independent": "2"}
# columns of UniTVelo's table of genes, and ours, which are named as in scVelo except for the peak and r2
COLUMNS = {
    "fit_gamma": "fit_gamma",
    "fit_beta": "fit_beta",
    "fit_intercept": "fit_u0",
    "fit_t": "peak_time",
    "fit_a": "peak_sharpness",
    "fit_h": "peak_height",
    "fit_offset": "peak_offset",
    "fit_sr2": "r2_spliced",
    "fit_ur2": "r2_unspliced",
}


def fit(
    cells,
    *,
    folder,
    random_state=0,
    mode="unified",
    velocity_genes="basic",
    root="",
    max_iterations=12000,
    learning_rate=0.01,
):
    """Return velocities of the genes that UniTVelo selects, and in the unified mode the time of each cell.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`, and perhaps a column `clusters`.
    folder : Path
        Folder in which UniTVelo's own table of genes is saved, as `genes.csv`.
    random_state : int
        Seed of the order of the cells, which is UniTVelo's initial time unless there is a root.
    mode : {"unified", "independent"}
        One time for all genes, or one per gene.
    velocity_genes, max_iterations, learning_rate
        Options of the model, as described in its schema.
    root : str
        Cluster in which the process starts; empty for none.

    Returns
    -------
    dict
        Result as `run_model` takes it.

    Raises
    ------
    ValueError
        If UniTVelo selects fewer than two genes, `root` is not a cluster, or no velocity is finite.
    RuntimeError
        If the fit diverges.
    """
    limit_threads()
    order = np.random.default_rng(random_state).permutation(cells.n_obs)
    adata = as_unitvelo(cells[order], root)
    losses = []
    unitvelo.model.plot_loss = lambda step, loss, *_: losses.extend(loss)
    config = configuration(mode, velocity_genes, root, max_iterations, learning_rate, adata.var_names)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # UniTVelo writes tables of all cells and genes as text; only its parameters are kept
        adata.uns["temp"] = scratch
        model = unitvelo.velocity.Velocity(adata, config=config)
        model.get_velo_genes()
        if model.velocity_genes.sum() < 2:
            raise ValueError(
                f"UniTVelo selects {model.velocity_genes.sum()} of {cells.n_vars} genes, and needs at least 2. "
                "More genes, or velocity_genes: all, may help."
            )
        try:
            # without an embedding, because UniTVelo would otherwise compute a velocity graph
            fitted = model.fit_velo_genes(basis=None, rep=0)
        except TypeError as error:
            # raised if the loss was never finite: there is no best step to return to
            raise RuntimeError(
                "UniTVelo's fit diverged. With a root, cells that are not connected with it by neighbors have no "
                "initial pseudotime: leave the root out; otherwise a smaller learning_rate may help."
            ) from error
    is_used = fitted.var["velocity_genes"].to_numpy(dtype=bool)
    fitted = fitted[np.argsort(order), is_used].copy()
    fitted.var.index = cells.var_names[is_used]
    fitted.var.to_csv(folder / "genes.csv")
    return as_result(fitted, mode, losses)


def limit_threads():
    """Let TensorFlow use the threads of the job."""
    threads = int(os.environ.get("OMP_NUM_THREADS", 1))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(0)


def as_unitvelo(cells, root):
    """Return cells as from `unitvelo.run_model`, but with our genes, moments and neighbors.

    Genes are renamed: if the first name begins with ENSMUSG, UniTVelo looks for columns that do not exist.
    """
    adata = cells.copy()
    adata.var.index = [f"gene {number}" for number in range(cells.n_vars)]
    if "clusters" not in adata.obs:
        adata.obs["clusters"] = "all"
    if root and root not in set(adata.obs["clusters"]):
        raise ValueError(f"root {root!r} is not one of the clusters {sorted(set(adata.obs['clusters']))}")
    adata.uns.update({"label": "clusters", "base_function": "Gaussian"})
    return adata


def configuration(mode, velocity_genes, root, max_iterations, learning_rate, genes):
    """Return UniTVelo's configuration. Settings that depend on the mode are completed as in its `run_model`."""
    config = unitvelo.config.Configuration()
    config.FIT_OPTION = FIT_OPTION_OF_MODE[mode]
    # its own option to use all genes needs an older numpy
    config.VGENES = list(genes) if velocity_genes == "all" else velocity_genes
    config.IROOT = root or None
    config.MAX_ITER = max_iterations
    config.LEARNING_RATE = learning_rate
    return init_config_summary(config)[0]


def as_result(fitted, mode, losses):
    """Return UniTVelo's result as `run_model` takes it; ValueError if no velocity is finite."""
    velocity = np.asarray(fitted.layers["velocity"])
    is_finite = np.isfinite(velocity).all(axis=0)
    if not is_finite.any():
        raise ValueError("UniTVelo returned no finite velocity for any gene; a smaller learning_rate may help.")
    if not is_finite.all():
        log.warning("velocities of %d of %d genes are not finite", (~is_finite).sum(), len(is_finite))
    var = {ours: fitted.var[theirs].to_numpy() for theirs, ours in COLUMNS.items()}
    # instead of a likelihood: the fraction of the variance of Ms that the curve explains
    var["fit_likelihood"] = np.clip(var["r2_spliced"], 0.0, 1.0)
    result = {"genes": fitted.var_names, "layers": {"velocity": velocity}, "var": var, "history": {"loss": losses}}
    gene_times = np.asarray(fitted.layers["fit_t"])
    if mode == "unified":
        # UniTVelo's own latent_time is this time stretched to span 0 to 1, unlike velocities and peaks
        return {**result, "obs": {"time": gene_times[:, 0]}}
    result["layers"]["fit_t"] = gene_times
    return result
