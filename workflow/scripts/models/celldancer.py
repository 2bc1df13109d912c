"""cellDancer (Li 2024): rates of each cell and gene, from one small neural network per gene.

The network of a gene takes (u, s) of a cell, each divided by its maximum over the cells, and returns alpha, beta and
gamma of that cell, such that a step of ds/dt = beta u - gamma s, du/dt = alpha - beta u points to one of its
neighbors. The results here are cellDancer's with the division undone: they are in units of Ms and Mu and in
cellDancer's own time, in which the step lasts 0.5.
"""

import logging
import os
import shutil
from unittest import mock

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

log = logging.getLogger("run_model")

# cellDancer fits the first gene of each call twice, and the random numbers of a gene depend on the genes before it. The
# size of a call must therefore not depend on the number of threads.
GENES_PER_CALL = 10
# columns of cellDancer's table, with the velocities computed from it, and the layers that they become
LAYER_OF_COLUMN = {
    "velocity": "velocity",
    "velocity_u": "velocity_u",
    "alpha": "cell_alpha",
    "beta": "cell_beta",
    "gamma": "cell_gamma",
}


def fit(
    cells,
    *,
    folder,
    random_state=0,
    max_epochs=200,
    check_every=10,
    patience=3,
    learning_rate=0.001,
    step=0.5,
    n_neighbors=30,
    permutation_ratio=0.125,
    loss="cosine",
):
    """Return velocities, and rates of each cell and gene, of the genes that cellDancer could fit.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu`.
    folder : Path
        Folder in which the loss of each gene is saved, as `loss.csv`.
    random_state : int
        Added to the seeds that cellDancer sets itself, so that 0 gives its own numbers.
    max_epochs, check_every, patience, learning_rate, step, n_neighbors, permutation_ratio, loss
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it. Layers are in units of `Ms` and `Mu`.

    Raises
    ------
    ValueError
        If the loss would never be checked, in which case cellDancer reports that no gene can be fitted.
    RuntimeError
        If no gene was fitted. cellDancer suppresses the reason.
    """
    if max_epochs < max(2, check_every):
        raise ValueError(f"max_epochs ({max_epochs}) must be at least 2 and check_every ({check_every}).")
    options = {
        "max_epoches": max_epochs,
        "check_val_every_n_epoch": check_every,
        "patience": patience,
        "learning_rate": learning_rate,
        "dt": step,
        "n_neighbors": n_neighbors,
        "permutation_ratio": permutation_ratio,
        "loss_func": loss,
    }
    expressed = np.flatnonzero((cells.layers["Ms"].max(axis=0) > 0) & (cells.layers["Mu"].max(axis=0) > 0))
    scratch = folder / "scratch"
    gene_sets = [expressed[start : start + GENES_PER_CALL] for start in range(0, len(expressed), GENES_PER_CALL)]
    results = Parallel(n_jobs=int(os.environ.get("OMP_NUM_THREADS", 1)))(
        delayed(fit_genes)(as_table(cells, genes), scratch / str(number), random_state, options)
        for number, genes in enumerate(gene_sets)
    )
    shutil.rmtree(scratch, ignore_errors=True)
    results = [result for result in results if result is not None]
    if not results:
        raise RuntimeError(
            f"cellDancer fitted none of {cells.n_vars} genes. It does not say why; look at the unspliced and spliced "
            "abundances of some genes, and try a larger permutation_ratio where there are few cells."
        )
    losses = pd.concat([losses for _, _, losses in results])
    losses.assign(gene_name=cells.var_names[losses["gene_name"]]).to_csv(folder / "loss.csv", index=False)
    gene_indices = np.concatenate([indices for indices, _, _ in results])
    layers = {
        name: np.concatenate([layers[name] for _, layers, _ in results], axis=1) for name in LAYER_OF_COLUMN.values()
    }
    return as_result(cells, gene_indices, layers, losses)


def as_table(cells, genes):
    """Return the table that cellDancer takes, with one row per gene and cell. Genes are named by their index."""
    columns = {
        "gene_name": np.repeat([str(gene) for gene in genes], cells.n_obs),
        "unsplice": cells.layers["Mu"][:, genes].T.ravel(),
        "splice": cells.layers["Ms"][:, genes].T.ravel(),
        "cellID": np.tile(cells.obs_names.to_numpy(dtype=str), len(genes)),
        "clusters": "all",
    }
    embedding = cells.obsm["X_embedding"].astype(np.float64)
    for axis in (0, 1):
        columns[f"embedding{axis + 1}"] = np.tile(embedding[:, axis], len(genes))
    return pd.DataFrame(columns)


def fit_genes(table, folder, random_state, options):
    """Run cellDancer on some genes, on one thread.

    cellDancer fits the genes in the order of the table only if it gets no list of genes: it makes a set of that list,
    whose order changes from run to run.

    Parameters
    ----------
    table : DataFrame
        Moments as `as_table` returns them.
    folder : Path
        Folder for cellDancer's files. It is deleted at the end.
    random_state : int
        Added to the seeds that cellDancer sets.
    options : dict
        Options of cellDancer, by its own names.

    Returns
    -------
    gene_indices : ndarray of int, shape (n_fitted,)
        Indices of the fitted genes.
    layers : dict of str to ndarray of float32, shape (n_cells, n_fitted)
        Layers by the names in `LAYER_OF_COLUMN`.
    losses : DataFrame
        cellDancer's table of losses.

    Notes
    -----
    Returns None if cellDancer fitted no gene.
    """
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import torch
    from celldancer import velocity_estimation

    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    seed = np.random.seed  # noqa: NPY002 (the generator that cellDancer draws from)
    with mock.patch.object(np.random, "seed", lambda number=0: seed(number + random_state)):
        np.random.seed(0)  # noqa: NPY002
        losses, table = velocity_estimation.velocity(table, save_path=str(folder), n_jobs=1, **options)
    shutil.rmtree(folder)
    if table is None:
        return None
    table["velocity"] = (table["splice_predict"] - table["splice"]) / options["dt"]
    table["velocity_u"] = (table["unsplice_predict"] - table["unsplice"]) / options["dt"]
    # the table's own index numbers the rows of each call, and its other columns are text, which would take much memory
    matrices = table.pivot(index="cellIndex", columns="gene_name", values=list(LAYER_OF_COLUMN))
    layers = {layer: matrices[column].to_numpy(dtype=np.float32) for column, layer in LAYER_OF_COLUMN.items()}
    return matrices["velocity"].columns.to_numpy(dtype=int), layers, losses.astype({"gene_name": int})


def as_result(cells, gene_indices, layers, losses):
    """Return the result in units of Ms and Mu, as `run_model` takes it."""
    if len(gene_indices) < cells.n_vars:
        log.warning("cellDancer did not fit %d of %d genes", cells.n_vars - len(gene_indices), cells.n_vars)
    largest_s, largest_u = (cells.layers[layer][:, gene_indices].max(axis=0) for layer in ("Ms", "Mu"))
    # cellDancer's tables have alpha of divided abundances, and beta and gamma multiplied by these maxima
    rates = {
        "cell_alpha": layers["cell_alpha"] * largest_u,
        "cell_beta": layers["cell_beta"] * (largest_s / largest_u**2),
        "cell_gamma": layers["cell_gamma"] / largest_s,
    }
    curve = losses.groupby("epoch")["loss"].agg(["mean", "size"])
    return {
        "genes": cells.var_names[gene_indices],
        "layers": layers | rates,
        "var": {"fit_scaling": largest_u / largest_s},
        "history": {"epoch": list(curve.index), "loss": list(curve["mean"]), "genes": list(curve["size"])},
    }
