"""Pyro-Velocity 0.4.5: a Bayesian model of raw counts, in which all genes share one time of each cell.

Qin, Bingham, La Manno, Langenau, Pinello, "Pyro-Velocity: probabilistic RNA velocity inference from single-cell data",
bioRxiv 2022.09.12.507691. The library is licensed under AGPL-3.0. This file is under the license of the workflow and
imports the library. The process that runs it combines both, and who passes on that combination, or offers it over a
network, must comply with AGPL-3.0. The rest of the workflow does not import the library: it exchanges files with that
process.

Defaults that differ from those of the library's class follow `train_dataset`, the authors' own pipeline: priors are
included (without them, the scale of rates and time is undetermined), offsets are fitted unless `model` is 1, training
takes at most 3000 epochs, an improvement is at least 0.0001, and there are 30 posterior draws.

Units. The model explains the counts of a cell by the fractions st / sum(st) of the genes, times a depth. Its
expectation of `Ms` is therefore st / sum(st) * sum(Ms), with both sums over the fitted genes of the cell, and likewise
for `Mu`. The scale of st is that of its priors. The content of a cell, sum(st), may grow severalfold along the process
without any support in the data. Curves of a gene over time hold only before that normalization. There are therefore no
columns `fit_*`, and rates are in the model's own units.
"""

import logging
import os
import tempfile

import numpy as np

log = logging.getLogger(__name__)

# sites of the model with one value per gene, and the column that has their posterior mean
COLUMN_OF_SITE = {
    "alpha": "alpha",
    "beta": "beta",
    "gamma": "gamma",
    "u_scale": "unspliced_scale",
    "t0": "start_time",
    "dt_switching": "switching_duration",
    "switching": "switching_time",
    "u_offset": "unspliced_start",
    "s_offset": "spliced_start",
}


def fit(
    cells,
    *,
    folder,
    random_state=0,
    model=2,
    max_epochs=3000,
    patience=45,
    min_improvement=1e-4,
    learning_rate=0.01,
    include_prior=True,
    batch_size=None,
    n_samples=30,
    normalized=True,
    accelerator="auto",
):
    """Return the posterior of the velocity, of the time of each cell, and of the rates.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `raw_spliced`, `raw_unspliced` (counts), `Ms` and `Mu`.
    folder : Path
        Folder in which the model is saved. `PyroVelocity.load_model` loads it, given cells `with_library_sizes`, if
        TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 is in the environment: newer versions of PyTorch refuse such files otherwise.
    random_state : int
        Seed of the training and of the draws.
    model : {1, 2}
        1 for genes that all start from zero, 2 for start amounts that are fitted.
    batch_size : int, optional
        Number of cells in a step of the optimization; all by default.
    n_samples : int
        Number of posterior draws.
    normalized : bool
        Form of the velocity, see `velocity_of`.
    accelerator : {"auto", "cpu", "gpu"}
        Device.
    max_epochs, patience, min_improvement, learning_rate, include_prior
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it: velocity and fitted counts in units of `Ms` and `Mu` (means over the draws);
        `time` of each cell with its standard deviation, and its `content`; means of the rates; the authors' ranking of
        genes; and the evidence lower bound of each epoch, per entry of the two matrices. Draws of the velocity are
        generated again, one at a time, when they are requested.

    Raises
    ------
    ValueError
        If the counts are not counts, or do not differ in depth.
    RuntimeError
        If the training diverges.
    """
    cells = with_library_sizes(cells)
    losses, trained = train(
        cells,
        folder,
        offset=model == 2,
        max_epochs=max_epochs,
        patience=patience,
        min_improvement=min_improvement,
        learning_rate=learning_rate,
        include_prior=include_prior,
        batch_size=batch_size,
        accelerator=accelerator,
        random_state=random_state,
    )
    seeds = np.random.SeedSequence(random_state).generate_state(n_samples).tolist()
    summary = summarize(cells, (draw_posterior(trained, seed) for seed in seeds), normalized=normalized)
    velocities = (velocity_of(cells, draw_posterior(trained, seed), normalized=normalized) for seed in seeds)
    return {**summary, "samples": velocities, "history": {"elbo": -losses}}


def with_library_sizes(cells):
    """Return a copy of the cells with the sums of their counts, which the model reads.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `raw_spliced` and `raw_unspliced`, CSR.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        Cells with the columns `u_lib_size_raw` and `s_lib_size_raw`.

    Raises
    ------
    ValueError
        If the values are not counts, or all cells have the same number of counts.
    """
    cells = cells.copy()
    for layer, column in (("unspliced", "u_lib_size_raw"), ("spliced", "s_lib_size_raw")):
        counts = cells.layers[f"raw_{layer}"]
        if (counts.data < 0).any() or (counts.data % 1).any():
            raise ValueError(
                f"Pyro-Velocity models counts, and those of layer '{layer}' are not all whole numbers of 0 or more. "
                "Give it the counts of the quantifier, or leave this method out."
            )
        sizes = np.asarray(counts.sum(axis=1)).ravel()
        if sizes.min() == sizes.max():
            raise ValueError(
                f"Pyro-Velocity models how the depth of cells differs, and all have {sizes[0]:g} counts in layer "
                f"'{layer}'. Give it counts that were not normalized, or leave this method out."
            )
        cells.obs[column] = sizes
    return cells


def train(
    cells,
    folder,
    *,
    offset,
    max_epochs,
    patience,
    min_improvement,
    learning_rate,
    include_prior,
    batch_size,
    accelerator,
    random_state,
):
    """Train a model and save it in a folder. Options are as in `fit`.

    Returns
    -------
    losses : ndarray of float, shape (n_epochs,)
        Loss of each epoch, per entry of the two matrices.
    trained : PyroVelocity
        Trained model.
    """
    library = load_library(folder)
    library.setup_anndata(cells)
    trained = library(cells, add_offset=offset, include_prior=include_prior)
    options = {
        "max_epochs": max_epochs,
        "patient_init": patience,
        "patient_improve": min_improvement,
        "lr": learning_rate,
        "use_gpu": accelerator,
        "seed": random_state,
    }
    n_entries = 2 * cells.n_obs * cells.n_vars
    if batch_size is None or batch_size >= cells.n_obs:
        losses = np.asarray(trained.train_faster(**options))
    else:
        batch_size = allowed_batch_size(cells.n_obs, batch_size)
        # unlike train_faster, it returns sums over the entries of both matrices
        losses = np.asarray(trained.train_faster_with_batch(batch_size=batch_size, **options)) / n_entries
    if not np.isfinite(losses).all():
        epoch = int(np.argmin(np.isfinite(losses))) + 1
        raise RuntimeError(
            f"the training of Pyro-Velocity diverged: its loss is not finite in epoch {epoch}. "
            "Try a lower learning_rate, or leave out genes and cells with hardly any counts."
        )
    log.info("trained for %d of at most %d epochs, loss %.4g to %.4g", len(losses), max_epochs, losses[0], losses[-1])
    trained.save_model(str(folder), overwrite=True)
    return losses, trained


def load_library(folder):
    """Return the class of the model, imported without writing outside a folder."""
    # its imports create caches and settings in the home folder, so they get a temporary one
    with tempfile.TemporaryDirectory(dir=folder) as home:
        home_variables = {name: home for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")}
        before = {name: os.environ.get(name) for name in home_variables}
        os.environ.update(home_variables)
        import mlflow
        from pyrovelocity.models import PyroVelocity

        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    # training reports losses to mlflow, which would create a database; training also returns them
    mlflow.log_metric = lambda *args, **options: None
    return PyroVelocity


def allowed_batch_size(n_cells, batch_size):
    """Return the batch size, increased until no batch has a single cell, on which the library fails."""
    while n_cells % batch_size == 1:
        batch_size += 1
    return batch_size


def draw_posterior(trained, seed):
    """Return one posterior draw: arrays (n_cells, n_genes), (n_cells, 1) or (1, n_genes), by the model's names."""
    import pyro

    pyro.set_rng_seed(seed)
    # all cells at once: otherwise the library draws new rates for every 128 cells, and returns those of the first
    values_of_site = trained.generate_posterior_samples(trained.adata, num_samples=1, batch_size=trained.adata.n_obs)
    return {name: values[0] for name, values in values_of_site.items()}


def velocity_of(cells, draw, *, normalized):
    """Return the velocity of a posterior draw in units of `Ms`.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layer `Ms`.
    draw : dict
        Posterior draw, from `draw_posterior`.
    normalized : bool
        Whether to return the change of the model's expectation of `Ms`, in which the content of a cell cancels out and
        whose sum over the genes of a cell is 0. Otherwise, the function returns beta ut / u_scale - gamma st, the form
        that the library reports, at the scale of `Ms`.

    Returns
    -------
    ndarray of float, shape (n_cells, n_genes)
        Velocity.
    """
    velocity = draw["beta"] * draw["ut"] / draw["u_scale"] - draw["gamma"] * draw["st"]
    if normalized:
        growth = velocity.sum(axis=1, keepdims=True) / draw["st"].sum(axis=1, keepdims=True)
        velocity = velocity - growth * draw["st"]
    return velocity * scale_of(cells.layers["Ms"], draw["st"])


def scale_of(moments, abundances):
    """Return the factor of each cell, (n_cells, 1), that converts abundances of a draw to units of moments."""
    return moments.sum(axis=1, keepdims=True) / abundances.sum(axis=1, keepdims=True)


def summarize(cells, draws, *, normalized):
    """Return means over posterior draws, from one pass over the draws.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `raw_spliced`, `Ms` and `Mu`.
    draws : iterable of dict
        Posterior draws, from `draw_posterior`.
    normalized : bool
        Form of the velocity, see `velocity_of`.

    Returns
    -------
    dict
        `layers`, `obs` and `var` of the result of `fit`.

    Raises
    ------
    RuntimeError
        If a mean is not finite.
    """
    counts = cells.layers["raw_spliced"].toarray()
    statistics = []
    means = dict.fromkeys(("velocity", "fitted_spliced", "fitted_unspliced"), 0.0)
    for number, draw in enumerate(draws):
        layers = {
            "velocity": velocity_of(cells, draw, normalized=normalized),
            "fitted_spliced": draw["st"] * scale_of(cells.layers["Ms"], draw["st"]),
            "fitted_unspliced": draw["ut"] * scale_of(cells.layers["Mu"], draw["ut"]),
        }
        means = {name: mean + (layers[name] - mean) / (number + 1) for name, mean in means.items()}
        statistics.append(
            {
                "time": draw["cell_time"][:, 0],
                "content": draw["st"].sum(axis=1),
                "mean_mae": -relative_error(draw["s"], counts),
                "time_correlation": correlation(draw["st"], draw["cell_time"]),
                **{column: draw[site][0] for site, column in COLUMN_OF_SITE.items() if site in draw},
            }
        )
    by_name = {name: np.stack([of_draw[name] for of_draw in statistics]) for name in statistics[0]}
    time, content = by_name.pop("time"), by_name.pop("content")
    summary = {
        "layers": means,
        "obs": {"time": time.mean(axis=0), "time_sd": time.std(axis=0), "content": content.mean(axis=0)},
        "var": add_ranks({name: values.mean(axis=0) for name, values in by_name.items()}),
    }
    if not all(np.isfinite(values).all() for part in ("layers", "obs") for values in summary[part].values()):
        raise RuntimeError("velocities or times of Pyro-Velocity are not finite: its training failed.")
    return summary


def relative_error(predicted, counts):
    """Return the mean absolute error of predicted counts over the mean count, (n_genes,); 0 without counts."""
    error, mean = np.abs(predicted - counts).mean(axis=0), counts.mean(axis=0)
    return np.divide(error, mean, out=np.zeros_like(error), where=mean > 0)


def correlation(abundances, time):
    """Return the Pearson correlation of each gene with time, (n_cells, 1), as (n_genes,); 0 for constant genes."""
    abundances, time = (values - values.mean(axis=0, dtype=np.float64) for values in (abundances, time))
    norms = np.sqrt((abundances**2).sum(axis=0) * (time**2).sum(axis=0))
    products = (abundances * time).sum(axis=0)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)


def add_ranks(columns):
    """Return columns of genes with the authors' ranks: 1 for the best prediction, and for the closest link to time."""
    ranks = {
        "mean_mae_rank": rank(columns["mean_mae"]),
        "time_correlation_rank": rank(np.abs(columns["time_correlation"])),
    }
    return {**columns, **ranks, "rank_product": ranks["mean_mae_rank"] * ranks["time_correlation_rank"]}


def rank(values):
    """Return the rank of each value, 1 for the largest; ties get their mean rank."""
    from scipy.stats import rankdata

    return rankdata(-values)
