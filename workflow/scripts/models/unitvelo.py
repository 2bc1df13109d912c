"""UniTVelo (Gao 2022): spliced abundance of each gene is a bell-shaped curve of a time that all genes share.

s(t) = h exp(-a (t - peak)^2) + offset, and ds/dt is its derivative; u(t) = (ds/dt + gamma s) / beta + u0.
UniTVelo scales Mu to the spread of Ms and leaves Ms as it is, so that its velocity is in units of Ms per unit of its
time, in which the curves span 0 to 1.  It scales its rates back itself.
"""

import logging
import os
import tempfile

import numpy as np

# both are read when TensorFlow and tqdm are imported
os.environ["TF_USE_LEGACY_KERAS"] = "True"
os.environ["TQDM_DISABLE"] = "1"
import tensorflow as tf
import unitvelo.model
import unitvelo.velocity
from unitvelo.utils import init_config_summary

log = logging.getLogger("run_model")

MODES = {"unified": "1", "independent": "2"}
# a column of UniTVelo's table of genes -> ours; all but the peak and what follows it as scVelo names them
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
    """Velocities of the genes that UniTVelo finds fit for it, and in the unified mode the time of each cell.

    cells : AnnData with the layers Ms and Mu.   folder : where UniTVelo's own table of genes is kept.
    random_state : of the order of the cells, which is the time that UniTVelo starts from unless there is a root.
    Raises ValueError where fewer than two genes are fit for it, or `root` is no cluster, and RuntimeError where its fit
    breaks down.
    """
    limit_threads()
    order = np.random.default_rng(random_state).permutation(cells.n_obs)
    given = as_unitvelo(cells[order], root)
    losses = []
    unitvelo.model.plot_loss = lambda step, loss, *_: losses.extend(loss)
    config = configuration(mode, velocity_genes, root, max_iterations, learning_rate, given.var_names)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # tables of all cells and genes, as text: only their parameters are kept
        given.uns["temp"] = scratch
        model = unitvelo.velocity.Velocity(given, config=config)
        model.get_velo_genes()
        if model.velocity_genes.sum() < 2:
            raise ValueError(
                f"UniTVelo finds {model.velocity_genes.sum()} of {cells.n_vars} genes fit for it; it needs at least 2. "
                "More genes, or velocity_genes: all, may help."
            )
        try:
            # without an embedding, or it would make a velocity graph of its own
            fitted = model.fit_velo_genes(basis=None, rep=0)
        except TypeError as error:
            # what comes of a loss that never was a number: it has no best step to go back to
            raise RuntimeError(
                "UniTVelo's fit broke down. With a root, cells that no neighbours connect with it have no pseudotime "
                "to start from: leave the root out; otherwise a smaller learning_rate may help."
            ) from error
    used = fitted.var["velocity_genes"].to_numpy(dtype=bool)
    fitted = fitted[np.argsort(order), used].copy()
    fitted.var.index = cells.var_names[used]
    fitted.var.to_csv(folder / "genes.csv")
    return returned(fitted, mode, losses)


def limit_threads():
    """Let TensorFlow have the threads that the job was given."""
    threads = int(os.environ.get("OMP_NUM_THREADS", 1))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(0)


def as_unitvelo(cells, root):
    """A copy of the cells as `unitvelo.run_model` would hand it on, without its own selection, moments and neighbours.

    Genes get names of their own: where the first begins with ENSMUSG, UniTVelo looks for others, which are not there.
    """
    given = cells.copy()
    given.var.index = [f"gene {number}" for number in range(cells.n_vars)]
    if "clusters" not in given.obs:
        given.obs["clusters"] = "all"
    if root and root not in set(given.obs["clusters"]):
        raise ValueError(f"root {root!r} is none of the clusters {sorted(set(given.obs['clusters']))}")
    given.uns.update({"label": "clusters", "base_function": "Gaussian"})
    return given


def configuration(mode, velocity_genes, root, max_iterations, learning_rate, genes):
    """What UniTVelo is told; settings that follow from the mode are filled in as its `run_model` does it."""
    config = unitvelo.config.Configuration()
    config.FIT_OPTION = MODES[mode]
    # its own way to take all genes needs an older numpy
    config.VGENES = list(genes) if velocity_genes == "all" else velocity_genes
    config.IROOT = root or None
    config.MAX_ITER = max_iterations
    config.LEARNING_RATE = learning_rate
    return init_config_summary(config)[0]


def returned(fitted, mode, losses):
    """What UniTVelo found, as the workflow takes it; ValueError where the fit went astray."""
    velocity = np.asarray(fitted.layers["velocity"])
    sound = np.isfinite(velocity).all(axis=0)
    if not sound.any():
        raise ValueError("UniTVelo returned no finite velocity for any gene; a smaller learning_rate may help.")
    if not sound.all():
        log.warning("%d of %d genes have velocities that are no finite numbers", (~sound).sum(), len(sound))
    var = {ours: fitted.var[theirs].to_numpy() for theirs, ours in COLUMNS.items()}
    # no likelihood, but what serves as one: the share of the variance of Ms that the curve explains
    var["fit_likelihood"] = np.clip(var["r2_spliced"], 0.0, 1.0)
    found = {"genes": fitted.var_names, "layers": {"velocity": velocity}, "var": var, "history": {"loss": losses}}
    times = np.asarray(fitted.layers["fit_t"])
    if mode == "unified":
        # UniTVelo's own latent_time is this one stretched to go from 0 to 1, which velocities and peaks are not
        return {**found, "obs": {"time": times[:, 0]}}
    found["layers"]["fit_t"] = times
    return found
