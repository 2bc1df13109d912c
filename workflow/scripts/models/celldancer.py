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
    Raises RuntimeError where no gene was fitted: cellDancer swallows why.
    """
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
    estimates = [estimate for _, estimate in done if estimate is not None]
    if not estimates:
        raise RuntimeError(
            f"cellDancer fitted none of {cells.n_vars} genes. It does not say why; look at the unspliced and spliced "
            "abundances of some genes, and try a larger permutation_ratio where there are few cells."
        )
    losses = pd.concat([loss for loss, _ in done if loss is not None])
    losses.to_csv(folder / "loss.csv", index=False)
    return returned(cells, pd.concat(estimates), losses, step)


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
    """Losses and estimates of some genes, as cellDancer's tables; None where it fitted none of them.

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
        return velocity_estimation.velocity(table, save_path=str(folder), n_jobs=1, **options)


def returned(cells, estimates, losses, step):
    """What cellDancer found, as the workflow takes it, in units of Ms and Mu."""
    numbers = np.sort(estimates["gene_name"].astype(int).unique())
    if len(numbers) < cells.n_vars:
        log.warning("cellDancer left %d of %d genes unfitted", cells.n_vars - len(numbers), cells.n_vars)
    by_gene = estimates.assign(gene_name=estimates["gene_name"].astype(int))

    def matrix(column):
        return by_gene.pivot(index="cellIndex", columns="gene_name", values=column)[numbers].to_numpy()

    largest_s, largest_u = (cells.layers[layer][:, numbers].max(axis=0) for layer in ("Ms", "Mu"))
    layers = {
        "velocity": (matrix("splice_predict") - matrix("splice")) / step,
        "velocity_u": (matrix("unsplice_predict") - matrix("unsplice")) / step,
        # its tables hold alpha undivided, and beta and gamma multiplied by these maxima
        "cell_alpha": matrix("alpha") * largest_u,
        "cell_beta": matrix("beta") / largest_u * (largest_s / largest_u),
        "cell_gamma": matrix("gamma") / largest_s,
    }
    curve = losses.groupby("epoch")["loss"].agg(["mean", "size"])
    return {
        "genes": cells.var_names[numbers],
        "layers": layers,
        "var": {"fit_scaling": largest_u / largest_s},
        "history": {"epoch": list(curve.index), "loss": list(curve["mean"]), "genes": list(curve["size"])},
    }
