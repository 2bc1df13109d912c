"""Pyro-Velocity 0.4.5: a Bayesian model of raw counts, in which all genes share one time of each cell.

Qin, Bingham, La Manno, Langenau, Pinello, "Pyro-Velocity: probabilistic RNA velocity inference from single-cell data",
bioRxiv 2022.09.12.507691.  The library is licensed under AGPL-3.0.  This file is under the licence of the workflow and
imports the library: the process that runs it is a combination of both, to which AGPL-3.0 applies where it is passed on
or offered over a network.  The rest of the workflow does not import the library, it exchanges files with that process.

What the library is told otherwise than its class would choose follows `train_dataset`, the authors' own pipeline:
priors count (without them nothing says how rates and time are scaled), offsets unless `model` is 1, at most 3000
epochs, an improvement of at least 0.0001, and 30 posterior samples.

Units.  The model explains the counts of a cell by the shares that genes have in it, st / sum(st), times a depth.  What
it expects of `Ms` is therefore st / sum(st) * sum(Ms), with both sums over the fitted genes of the cell, and likewise
of `Mu`.  The scale of st is that of its priors, and sum(st), the content of a cell, may grow manifold along the process
although no datum says so.  Curves of a gene over time hold before that normalisation only, hence no columns `fit_*`:
rates are in the model's own units.
"""

import logging
import os
import tempfile

import numpy as np

log = logging.getLogger(__name__)

# sites of the model with a value for each gene, by the column in which their posterior mean comes out
RATES = {
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
    """Posterior of the velocity, of the time of each cell, and of the rates.

    cells : AnnData with layers `raw_spliced`, `raw_unspliced` (counts), `Ms`, `Mu`.   folder : keeps the model;
    `PyroVelocity.load_model` loads it, given cells `with_library_sizes`, if TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 is in
    the environment, because the library asks PyTorch for what newer ones refuse.   model : 1, all genes start from
    nothing, or 2, from amounts that are fitted.   batch_size : cells in a step of the optimisation, all if None.
    normalized : as `velocity_of` has it.   accelerator : "auto", "cpu" or "gpu".
    Returns velocity and fitted counts in units of `Ms` and `Mu` (means over the samples); `time` of each cell with its
    standard deviation, and its `content`; means of the rates; the authors' ranking of genes; the evidence lower bound
    of each epoch, per entry of the two matrices.  Samples are drawn again, one at a time, as they are asked for.
    Raises ValueError for what the model cannot be given, RuntimeError where training comes to no finite numbers.
    """
    cells = with_library_sizes(cells)
    losses, fitted = train(
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
    summary = summarize(cells, (draw(fitted, seed) for seed in seeds), normalized=normalized)
    samples = (velocity_of(cells, draw(fitted, seed), normalized=normalized) for seed in seeds)
    return {**summary, "samples": samples, "history": {"elbo": -losses}}


def with_library_sizes(cells):
    """The cells, with the sums of their counts as the model wants them; ValueError where they are no counts."""
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
                f"'{layer}'. Give it counts that were not normalised, or leave this method out."
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
    """Loss of each epoch, (n_epochs,), and the trained model, which is saved in a folder; options as `fit` has them."""
    library = load_library(folder)
    library.setup_anndata(cells)
    fitted = library(cells, add_offset=offset, include_prior=include_prior)
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
        losses = np.asarray(fitted.train_faster(**options))
    else:
        batch_size = whole_batches(cells.n_obs, batch_size)
        # unlike the other, this one returns sums over the entries of both matrices
        losses = np.asarray(fitted.train_faster_with_batch(batch_size=batch_size, **options)) / n_entries
    if not np.isfinite(losses).all():
        epoch = int(np.argmin(np.isfinite(losses))) + 1
        raise RuntimeError(
            f"the training of Pyro-Velocity came to no finite number in epoch {epoch}. "
            "Try a lower learning_rate, or leave out genes and cells with hardly any counts."
        )
    log.info("trained for %d of at most %d epochs, loss %.4g to %.4g", len(losses), max_epochs, losses[0], losses[-1])
    fitted.save_model(str(folder), overwrite=True)
    return losses, fitted


def load_library(folder):
    """The class of the model, imported without a trace outside a folder."""
    # what it imports makes caches and settings in the user's home: it gets another one
    with tempfile.TemporaryDirectory(dir=folder) as home:
        places = {name: home for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")}
        before = {name: os.environ.get(name) for name in places}
        os.environ.update(places)
        import mlflow
        from pyrovelocity.models import PyroVelocity

        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    # training reports to mlflow, which would make a database; the losses come back as well
    mlflow.log_metric = lambda *args, **options: None
    return PyroVelocity


def whole_batches(n_cells, batch_size):
    """A size of batches near the given one that leaves no cell alone: the library fails on a batch of one."""
    while n_cells % batch_size == 1:
        batch_size += 1
    return batch_size


def draw(fitted, seed):
    """One sample of the posterior: arrays (n_cells, n_genes), (n_cells, 1) or (1, n_genes), by the model's names."""
    import pyro

    pyro.set_rng_seed(seed)
    # all cells at once: the library would otherwise draw other rates for each 128 cells, and return those of the first
    sample = fitted.generate_posterior_samples(fitted.adata, num_samples=1, batch_size=fitted.adata.n_obs)
    return {name: values[0] for name, values in sample.items()}


def velocity_of(cells, sample, *, normalized):
    """Velocity of a sample in units of `Ms`, (n_cells, n_genes).

    normalized : the change of what the model expects of `Ms`, in which a cell's content cancels out; its sum over the
    genes of a cell is 0.   Otherwise beta ut / u_scale - gamma st, which the library reports, at the scale of `Ms`.
    """
    velocity = sample["beta"] * sample["ut"] / sample["u_scale"] - sample["gamma"] * sample["st"]
    if normalized:
        growth = velocity.sum(axis=1, keepdims=True) / sample["st"].sum(axis=1, keepdims=True)
        velocity = velocity - growth * sample["st"]
    return velocity * scale_of(cells.layers["Ms"], sample["st"])


def scale_of(moments, abundances):
    """What abundances of a sample are multiplied by to be in units of moments: a factor a cell, (n_cells, 1)."""
    return moments.sum(axis=1, keepdims=True) / abundances.sum(axis=1, keepdims=True)


def summarize(cells, samples, *, normalized):
    """Means over posterior samples, as `fit` returns them, from one pass over the samples.

    samples : iterable of what `draw` returns.   Raises RuntimeError where a mean is no finite number.
    """
    counts = cells.layers["raw_spliced"].toarray()
    kept = []
    means = dict.fromkeys(("velocity", "fitted_spliced", "fitted_unspliced"), 0.0)
    for number, sample in enumerate(samples):
        layers = {
            "velocity": velocity_of(cells, sample, normalized=normalized),
            "fitted_spliced": sample["st"] * scale_of(cells.layers["Ms"], sample["st"]),
            "fitted_unspliced": sample["ut"] * scale_of(cells.layers["Mu"], sample["ut"]),
        }
        means = {name: mean + (layers[name] - mean) / (number + 1) for name, mean in means.items()}
        kept.append(
            {
                "time": sample["cell_time"][:, 0],
                "content": sample["st"].sum(axis=1),
                "mean_mae": -relative_error(sample["s"], counts),
                "time_correlation": correlation(sample["st"], sample["cell_time"]),
                **{column: sample[site][0] for site, column in RATES.items() if site in sample},
            }
        )
    of_samples = {name: np.stack([sample[name] for sample in kept]) for name in kept[0]}
    time, content = of_samples.pop("time"), of_samples.pop("content")
    found = {
        "layers": means,
        "obs": {"time": time.mean(axis=0), "time_sd": time.std(axis=0), "content": content.mean(axis=0)},
        "var": ranked({name: values.mean(axis=0) for name, values in of_samples.items()}),
    }
    if not all(np.isfinite(values).all() for part in ("layers", "obs") for values in found[part].values()):
        raise RuntimeError("Pyro-Velocity came to velocities or times that are no finite numbers: its training failed.")
    return found


def relative_error(predicted, counts):
    """Mean absolute error of predicted counts over the mean count, (n_genes,); 0 for a gene without counts."""
    error, mean = np.abs(predicted - counts).mean(axis=0), counts.mean(axis=0)
    return np.divide(error, mean, out=np.zeros_like(error), where=mean > 0)


def correlation(abundances, time):
    """Pearson correlation of each gene with time, (n_genes,); 0 for a gene that does not vary.

    abundances : (n_cells, n_genes).   time : (n_cells, 1).
    """
    abundances, time = (values - values.mean(axis=0, dtype=np.float64) for values in (abundances, time))
    spread = np.sqrt((abundances**2).sum(axis=0) * (time**2).sum(axis=0))
    together = (abundances * time).sum(axis=0)
    return np.divide(together, spread, out=np.zeros_like(together), where=spread > 0)


def ranked(columns):
    """Columns of genes, with the authors' ranks: 1 is the best predicted, and the one that changes most with time."""
    ranks = {
        "mean_mae_rank": rank(columns["mean_mae"]),
        "time_correlation_rank": rank(np.abs(columns["time_correlation"])),
    }
    return {**columns, **ranks, "rank_product": ranks["mean_mae_rank"] * ranks["time_correlation_rank"]}


def rank(values):
    """Rank of each value, the largest first, ties at their mean."""
    from scipy.stats import rankdata

    return rankdata(-values)
