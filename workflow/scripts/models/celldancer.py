"""cellDancer (Li 2024): rates of each cell and gene, from a small neural network a gene.

The network of a gene takes (u, s) of a cell, each divided by its maximum over the cells, and returns alpha, beta and
gamma of that cell, such that a step of ds/dt = beta u - gamma s, du/dt = alpha - beta u points to one of its
neighbours.
Results here are those of cellDancer with its division undone: in units of Ms, Mu and cellDancer's own time, in which
the step lasts 0.5.
"""

import logging
import os
import shutil
from unittest import mock

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

log = logging.getLogger("run_model")

# cellDancer fits the first gene of each call twice, and what is drawn for a gene depends on those before it: calls of a
# size that does not depend on the number of threads
GENES_A_CALL = 10
# a column of its table, with the velocities that follow from it -> a layer
COLUMNS = {
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
    """Velocities, and rates of each cell and gene, of the genes that cellDancer could fit.

    cells : AnnData with the layers Ms and Mu.   folder : losses of the genes are kept there.
    random_state : added to the seeds that cellDancer sets itself, so that 0 gives its own numbers.
    Raises ValueError where the loss would never be looked at, of which cellDancer makes that no gene can be fitted, and
    RuntimeError where no gene was fitted: cellDancer swallows why.
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
    calls = [expressed[start : start + GENES_A_CALL] for start in range(0, len(expressed), GENES_A_CALL)]
    done = Parallel(n_jobs=int(os.environ.get("OMP_NUM_THREADS", 1)))(
        delayed(fit_genes)(as_table(cells, genes), scratch / str(number), random_state, options)
        for number, genes in enumerate(calls)
    )
    shutil.rmtree(scratch, ignore_errors=True)
    done = [call for call in done if call is not None]
    if not done:
        raise RuntimeError(
            f"cellDancer fitted none of {cells.n_vars} genes. It does not say why; look at the unspliced and spliced "
            "abundances of some genes, and try a larger permutation_ratio where there are few cells."
        )
    losses = pd.concat([losses for _, _, losses in done])
    losses.assign(gene_name=cells.var_names[losses["gene_name"]]).to_csv(folder / "loss.csv", index=False)
    numbers = np.concatenate([numbers for numbers, _, _ in done])
    layers = {name: np.concatenate([found[name] for _, found, _ in done], axis=1) for name in COLUMNS.values()}
    return returned(cells, numbers, layers, losses)


def as_table(cells, genes):
    """The table that cellDancer takes: a row a gene and cell.  Genes go by their number, whatever their names."""
    columns = {
        "gene_name": np.repeat([str(gene) for gene in genes], cells.n_obs),
        "unsplice": cells.layers["Mu"][:, genes].T.ravel(),
        "splice": cells.layers["Ms"][:, genes].T.ravel(),
        "cellID": np.tile(cells.obs_names.to_numpy(dtype=str), len(genes)),
        "clusters": "all",
    }
    places = cells.obsm["X_embedding"].astype(np.float64)
    for axis in (0, 1):
        columns[f"embedding{axis + 1}"] = np.tile(places[:, axis], len(genes))
    return pd.DataFrame(columns)


def fit_genes(table, folder, random_state, options):
    """What cellDancer finds for some genes; None where it fitted none of them.

    Returns the numbers of those that it fitted, (n_fitted,); float32 (n_cells, n_fitted) by the names in COLUMNS; and
    its table of losses.

    On one thread, in the order of the table: cellDancer hands its list of genes through a set, whose order changes from
    run to run, unless it is given none.
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
    # its index counts the rows of each call, its other columns are texts that would fill the memory
    matrices = table.pivot(index="cellIndex", columns="gene_name", values=list(COLUMNS))
    found = {ours: matrices[theirs].to_numpy(dtype=np.float32) for theirs, ours in COLUMNS.items()}
    return matrices["velocity"].columns.to_numpy(dtype=int), found, losses.astype({"gene_name": int})


def returned(cells, numbers, layers, losses):
    """What cellDancer found, as the workflow takes it, in units of Ms and Mu."""
    if len(numbers) < cells.n_vars:
        log.warning("cellDancer left %d of %d genes unfitted", cells.n_vars - len(numbers), cells.n_vars)
    largest_s, largest_u = (cells.layers[layer][:, numbers].max(axis=0) for layer in ("Ms", "Mu"))
    # its tables hold alpha of divided abundances, and beta and gamma multiplied by these maxima
    layers["cell_alpha"] *= largest_u
    layers["cell_beta"] *= largest_s / largest_u**2
    layers["cell_gamma"] /= largest_s
    curve = losses.groupby("epoch")["loss"].agg(["mean", "size"])
    return {
        "genes": cells.var_names[numbers],
        "layers": layers,
        "var": {"fit_scaling": largest_u / largest_s},
        "history": {"epoch": list(curve.index), "loss": list(curve["mean"]), "genes": list(curve["size"])},
    }
