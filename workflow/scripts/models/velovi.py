"""VELOVI (Gayoso et al., Nature Methods 2024), as scvi-tools has it: a variational autoencoder of splicing kinetics.

Every gene has rates and a switching time; every cell has a latent representation, from which networks decode, gene by
gene, how far it is in induction and in repression, and a Dirichlet distribution over four states: induction, its steady
state, repression, and the state after it, where nothing is expressed.  As its authors do, the moments of each gene are
scaled to between 0 and 1, and genes without a positive steady-state line are left out.

What comes back is in the units of `Ms` and `Mu`.  With the range r and the minimum m of a gene's moments, the model
sees u' = (Mu - m_u) / r_u and s' = (Ms - m_s) / r_s, so that ds/dt = r_s ds'/dt.  Time is stretched gene by gene until
the last cell is at 20, as in the authors' tutorial.

Samples of the posterior are drawn one at a time from a seed of their own (`random_state` + number), a batch of cells
after the other, and can therefore be drawn again: nothing here grows with their number.
"""

import logging
import os
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import scvi
import torch
from scipy.stats import ttest_ind

log = logging.getLogger(__name__)

# how long a gene's process lasts, in the model and, as in scVelo, in what is returned
TOTAL_TIME = 20.0
INDUCTION, INDUCTION_STEADY, REPRESSION, REPRESSION_STEADY = range(4)
# the cluster of cells that have none: exchanging counts among them would say nothing
UNLABELLED = "unknown"


class Scaled(NamedTuple):
    """Moments of the fitted genes as the model sees them.

    genes : (n_fitted,) names.   spliced, unspliced : (n_cells, n_fitted) float32, 0 to 1 in each gene.
    minimum_s, range_s, minimum_u, range_u : (n_fitted,), in units of `Ms` and `Mu`.
    """

    genes: np.ndarray
    spliced: np.ndarray
    unspliced: np.ndarray
    minimum_s: np.ndarray
    range_s: np.ndarray
    minimum_u: np.ndarray
    range_u: np.ndarray


class Draws(NamedTuple):
    """How the posterior is sampled: a seed for each sample, and how many cells are taken at once."""

    seeds: range
    batch_size: int


def fit(
    cells,
    *,
    folder,
    random_state=0,
    max_epochs=500,
    early_stopping_patience=45,
    lr=0.01,
    weight_decay=0.01,
    batch_size=256,
    n_hidden=256,
    n_latent=10,
    n_layers=1,
    dropout_rate=0.1,
    n_samples=25,
    accelerator="auto",
):
    """Velocities, times, rates, states and their uncertainty, by VELOVI.

    cells : AnnData with layers `Ms`, `Mu` and perhaps a column `clusters`.   folder : Path; the model is saved in it as
    scvi-tools does, with `scaling.csv`, by which other cells are scaled for it, and `permutation_scores.csv`.

    layers : `velocity`, `velocity_u`, the mean over the samples of ds/dt and du/dt; `fit_t`, the time since the gene
    was switched on; `fitted_s`, `fitted_u`, the expression that the model gives a cell; `fit_state`, the most likely of
    the states 0 induction, 1 its steady state, 2 repression, 3 nothing expressed.
    var : rates with scVelo's names and units; `fit_loglikelihood`, VELOVI's gene likelihood, the mean over cells of the
    log density of (s', u'); `fit_likelihood`, as scVelo defines it; `permutation_score`, the largest of the clusters'.
    obs : five statistics of the angle between the samples and their mean (`directional_uncertainty`).
    obsm : `X_velovi`, the mean latent representation.

    Raises ValueError where fewer than two genes are left, RuntimeError where the training breaks down.
    """
    scaled = scale(cells.layers["Ms"], cells.layers["Mu"], np.asarray(cells.var_names, dtype=str))
    log.info("%d of %d genes have a steady-state line", len(scaled.genes), cells.n_vars)
    scvi.settings.seed = random_state
    model = new_model(
        scaled, cells.obs_names, n_hidden=n_hidden, n_latent=n_latent, n_layers=n_layers, dropout_rate=dropout_rate
    )
    history = train(
        model,
        max_epochs=max_epochs,
        early_stopping_patience=early_stopping_patience,
        lr=lr,
        weight_decay=weight_decay,
        batch_size=batch_size,
        accelerator=accelerator,
    )
    model.save(str(folder / "velovi"))
    scaling_table(scaled).to_csv(folder / "scaling.csv", index=False)

    draws = Draws(range(random_state, random_state + n_samples), batch_size)
    means = posterior_means(model.module, scaled, draws)
    var = {"fit_likelihood": likelihood(means, scaled), "fit_loglikelihood": means["log_likelihood"]}
    obs = directional_uncertainty(model.module, scaled, means["velocity"], draws)
    if "clusters" in cells.obs:
        scores = permutation_scores(model.module, scaled, means, cells.obs["clusters"].to_numpy(dtype=str), draws)
        scores.to_csv(folder / "permutation_scores.csv", index_label="gene")
        var["permutation_score"] = scores.max(axis=1).to_numpy()

    stretch = TOTAL_TIME / means["time"].max(axis=0)
    return {
        "genes": scaled.genes,
        "layers": in_units(means, scaled, stretch),
        "var": {**rates(model.module, scaled, stretch), **var},
        "obs": obs,
        "obsm": {"X_velovi": model.get_latent_representation(batch_size=batch_size)},
        "samples": velocity_samples(model.module, scaled, stretch, draws),
        "history": history,
    }


def scale(Ms, Mu, genes):
    """`Scaled` of the genes that have a steady-state line; ValueError where fewer than two have.

    Ms, Mu : (n_cells, n_genes).   genes : (n_genes,).
    """
    parts = []
    for moments in (Ms, Mu):
        minimum, extent = moments.min(axis=0), np.ptp(moments, axis=0)
        # a constant gene is 0 everywhere, and left out below
        parts += [(moments - minimum) / np.where(extent > 0, extent, 1), minimum, extent]
    spliced, minimum_s, range_s, unspliced, minimum_u, range_u = parts
    kept = genes_with_signal(spliced, unspliced)
    if kept.sum() < 2:
        raise ValueError(
            f"VELOVI keeps genes whose unspliced counts rise with the spliced ones: of {len(kept)} genes there are "
            f"{kept.sum()}. Are both counts of the same genes, and the unspliced ones not nearly all 0?"
        )
    return Scaled(
        genes[kept],
        spliced[:, kept],
        unspliced[:, kept],
        *(values[kept] for values in (minimum_s, range_s, minimum_u, range_u)),
    )


def genes_with_signal(spliced, unspliced, *, least=0.01):
    """Genes that the authors' preprocessing keeps: by scVelo's deterministic velocity of the scaled moments.

    Both its r2 and its gamma are above `least`.  gamma is the slope u = gamma s of the cells at or above the 95th
    percentile of s + u; r2 is of its residuals over all cells.  Where fewer than two genes are left, those in the upper
    fifth of r2 are.
    spliced, unspliced : (n_cells, n_genes), 0 to 1.   Returns bool (n_genes,).
    """
    size = spliced + unspliced
    upper = size >= np.percentile(size, 95, axis=0)
    products, squares = (np.sum(values * spliced, axis=0, where=upper) for values in (unspliced, spliced))
    gamma = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
    unexplained = np.sum((unspliced - gamma * spliced) ** 2, axis=0)
    total = np.sum((unspliced - unspliced.mean(axis=0)) ** 2, axis=0)
    r2 = 1 - np.divide(unexplained, total, out=np.ones_like(total), where=total > 0)
    # the model starts alpha at the median of the uppermost percent, and stays there for ever where that is 0
    possible = (r2 > 0) & (gamma > 0) & (np.percentile(unspliced, 99.5, axis=0) > 0)
    kept = possible & (r2 > least) & (gamma > least)
    if kept.sum() >= 2:
        return kept
    return possible & (r2 > np.percentile(r2, 80))


def scaling_table(scaled):
    """By which moments of other cells are scaled for the saved model: (x - minimum) / range, for layers Ms and Mu."""
    columns = ("genes", "minimum_s", "range_s", "minimum_u", "range_u")
    names = ("gene", "Ms_minimum", "Ms_range", "Mu_minimum", "Mu_range")
    return pd.DataFrame({name: getattr(scaled, column) for name, column in zip(names, columns, strict=True)})


def new_model(scaled, cells, **options):
    """An untrained model of some cells, (n_cells,) names."""
    given = anndata.AnnData(
        obs=pd.DataFrame(index=cells),
        var=pd.DataFrame(index=scaled.genes),
        layers={"Ms": scaled.spliced, "Mu": scaled.unspliced},
    )
    scvi.external.VELOVI.setup_anndata(given, spliced_layer="Ms", unspliced_layer="Mu")
    return scvi.external.VELOVI(given, **options)


def train(model, *, lr, **options):
    """Train a model; its loss by epoch, of the cells that it learns from and of those held back, as lists."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # in a job of several tasks Lightning would take this process for one of them
    os.environ.pop("SLURM_NTASKS", None)
    try:
        model.train(lr=lr, enable_progress_bar=False, **options)
    except ValueError as error:  # PyTorch's, of a distribution whose parameters are no numbers
        # the lines after the first are all the numbers
        reason = str(error).partition("\n")[0]
        raise RuntimeError(f"VELOVI's training broke down; a lr below {lr} may help ({reason})") from error
    history = {name: model.history[name].iloc[:, 0].to_numpy(float) for name in ("elbo_train", "elbo_validation")}
    if not all(np.isfinite(losses).all() for losses in history.values()):
        raise RuntimeError(f"VELOVI's training broke down, its loss is no finite number; a lr below {lr} may help")
    log.info("trained for %d epochs", len(history["elbo_train"]))
    return {name: losses.tolist() for name, losses in history.items()}


@torch.inference_mode()
def draw(module, spliced, unspliced, seed, batch_size):
    """One sample of the posterior, a batch of cells after the other.

    spliced, unspliced : (n_cells, n_fitted), scaled.
    Yields the rows of a batch, a slice, and a dict of tensors (n_rows, n_fitted): `time`, `fitted_s`, `fitted_u`,
    `velocity`, `velocity_u`, each the mean over the states, `log_likelihood`, and `states` (4, n_rows, n_fitted), their
    probabilities.  All are of the scaled moments and in the model's time.
    """
    torch.manual_seed(seed)
    for start in range(0, len(spliced), batch_size):
        rows = slice(start, start + batch_size)
        s, u = (torch.from_numpy(moments[rows]).to(module.device) for moments in (spliced, unspliced))
        latent = module.inference(spliced=s, unspliced=u)
        decoded = module.generative(**module._get_generative_input(None, latent))
        states = decoded["px_pi"].movedim(-1, 0)
        values = in_states(module, decoded["px_rho"], decoded["px_tau"])
        sample = {name: sum(p * value for p, value in zip(states, values[name], strict=True)) for name in values}
        # nothing can be lost faster than it is there in a unit of time; the authors' rule, and theirs for s only
        sample["velocity"] = torch.maximum(sample["velocity"], -s)
        log_likelihood = decoded["mixture_dist_s"].log_prob(s) + decoded["mixture_dist_u"].log_prob(u)
        yield rows, sample | {"log_likelihood": log_likelihood, "states": states}


def in_states(module, rho, tau):
    """Time, expression and its derivatives in each of the four states, by name.

    Where nothing is expressed the time is 0, as in the library: cells before induction, too, are given the state after
    repression, and in the simulator's data times went against the true ones with the end of the process in its place.
    rho, tau : (n_rows, n_fitted), parts of induction and repression that are over.
    """
    gamma, beta, alpha, *constant = module._get_rates()
    switch = switching_time(module)
    since = (TOTAL_TIME - switch) * tau
    u_on, s_on = module._get_induction_unspliced_spliced(alpha, *constant, beta, gamma, switch * rho)
    u_switch, s_switch = module._get_induction_unspliced_spliced(alpha, *constant, beta, gamma, switch)
    u_off, s_off = module._get_repression_unspliced_spliced(u_switch, s_switch, beta, gamma, since)
    return {
        "time": (switch * rho, switch, switch + since, 0.0),
        "fitted_s": (s_on, alpha / gamma, s_off, 0.0),
        "fitted_u": (u_on, alpha / beta, u_off, 0.0),
        "velocity": (beta * u_on - gamma * s_on, 0.0, beta * u_off - gamma * s_off, 0.0),
        "velocity_u": (alpha - beta * u_on, 0.0, -beta * u_off, 0.0),
    }


def switching_time(module):
    """(n_fitted,) tensor, in the model's time."""
    return torch.nn.functional.softplus(module.switch_time_unconstr).clamp(0, TOTAL_TIME)


def posterior_means(module, scaled, draws):
    """Means over the samples of what `draw` yields, by name; `log_likelihood` (n_fitted,) over the cells too.

    `fit_state` (n_cells, n_fitted) takes the place of `states`: the most likely of them.
    """
    shape = scaled.spliced.shape
    per_cell = ("time", "fitted_s", "fitted_u", "velocity", "velocity_u")
    means = {name: np.zeros(shape, np.float32) for name in per_cell} | {"log_likelihood": np.zeros(shape[1])}
    states = np.zeros((4, *shape), np.float32)
    for seed in draws.seeds:
        for rows, sample in draw(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            for name in per_cell:
                means[name][rows] += sample[name].cpu().numpy() / len(draws.seeds)
            states[:, rows] += sample["states"].cpu().numpy()
            means["log_likelihood"] += sample["log_likelihood"].sum(dim=0, dtype=torch.float64).cpu().numpy()
    means["log_likelihood"] /= len(draws.seeds) * shape[0]
    return means | {"fit_state": states.argmax(axis=0).astype(np.float32)}


def directional_uncertainty(module, scaled, mean, draws):
    """How far the samples of a cell's velocity point apart: VELOVI's five statistics, (n_cells,) each.

    Of the cosines between samples and their mean, both centred over genes, and of the angles: variance, 95th minus 5th
    percentile, and the mean cosine.  As the authors do, on scaled moments and in the model's time.
    mean : (n_cells, n_fitted), over the same samples, which are drawn a second time.
    """
    cosines = np.empty((len(mean), len(draws.seeds)))
    for number, seed in enumerate(draws.seeds):
        for rows, sample in draw(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            pair = (centred_directions(values) for values in (sample["velocity"].cpu().numpy(), mean[rows]))
            cosines[rows, number] = np.einsum("ij,ij->i", *pair)
    np.clip(cosines, -1, 1, out=cosines)
    angles = np.arccos(cosines)
    return {
        "directional_variance": np.var(angles, axis=1),
        "directional_difference": np.ptp(np.percentile(angles, [5, 95], axis=1), axis=0),
        "directional_cosine_sim_variance": np.var(cosines, axis=1),
        "directional_cosine_sim_difference": np.ptp(np.percentile(cosines, [5, 95], axis=1), axis=0),
        "directional_cosine_sim_mean": cosines.mean(axis=1),
    }


def centred_directions(vectors):
    """Rows less their means, of length 1; float64, for the angles of nearly parallel vectors; NaN for constant rows."""
    centred = vectors - vectors.mean(axis=1, keepdims=True, dtype=np.float64)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def permutation_scores(module, scaled, means, clusters, draws):
    """How much worse the model describes a gene once its counts are exchanged among the cells of a cluster.

    In each cluster, s and u of each gene are permuted, each by itself.  The error of a cell is |fitted s - s| +
    |fitted u - u|, the score Student's t of the errors of permuted against those of true cells.  It is high for genes
    whose u and s follow a curve together, and grows with the root of the number of cells: all of the cluster are taken,
    where the library takes the first 200.
    clusters : (n_cells,) str.   Returns a table (n_fitted, n_clusters), of clusters with at least two cells.
    """
    rng = np.random.default_rng(draws.seeds.start)
    scores = {}
    for cluster in np.unique(clusters[clusters != UNLABELLED]):
        rows = np.flatnonzero(clusters == cluster)
        if len(rows) < 2:
            continue
        true = [moments[rows] for moments in (scaled.spliced, scaled.unspliced)]
        permuted = [rng.permuted(moments, axis=0) for moments in true]
        fits = [np.zeros_like(moments) for moments in true]
        for seed in draws.seeds:
            for some, sample in draw(module, *permuted, seed, draws.batch_size):
                for fitted, name in zip(fits, ("fitted_s", "fitted_u"), strict=True):
                    fitted[some] += sample[name].cpu().numpy() / len(draws.seeds)
        errors = [
            sum(np.abs(fitted - seen) for fitted, seen in zip(*pair, strict=True))
            for pair in ((fits, permuted), ((means["fitted_s"][rows], means["fitted_u"][rows]), true))
        ]
        scores[cluster] = ttest_ind(*errors, axis=0).statistic
    return pd.DataFrame(scores, index=scaled.genes)


def likelihood(means, scaled):
    """scVelo's likelihood of each gene, of the expression that VELOVI gives the cells, (n_fitted,).

    d is the distance of (s, u) to the fit in standard deviations, with the sign of the spliced residual, and v its
    variance: exp(-mean(d^2) / 2v) / sqrt(2 pi v), over cells above a third of both ranges (Bergen 2020).  VELOVI's own
    density has no upper bound, and thresholds of latent time and verdict are made for this one.  NaN where v is 0.
    """
    found = np.full(len(scaled.genes), np.nan)
    for gene in range(len(found)):
        s, u = (moments[:, gene].astype(float) for moments in (scaled.spliced, scaled.unspliced))
        upper = (s > 1 / 3) & (u > 1 / 3)
        ds = (means["fitted_s"][upper, gene] - s[upper]) / s.std()
        du = (means["fitted_u"][upper, gene] - u[upper]) / u.std()
        distances = np.sign(ds) * np.hypot(ds, du)
        # a single cell has no variance
        variance = np.var(distances) if len(distances) > 1 else 0.0
        if variance > 0:
            found[gene] = np.exp(-np.mean(distances**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return found


def rates(module, scaled, stretch):
    """Columns as scVelo's, (n_fitted,) each, in units of Ms and Mu and of the stretched time."""
    gamma, beta, alpha = (rate.detach().cpu().numpy() for rate in module._get_rates()[:3])
    scaling = scaled.range_u / scaled.range_s
    return {
        "fit_alpha": alpha * scaled.range_s / stretch,
        "fit_beta": beta / scaling / stretch,
        "fit_gamma": gamma / stretch,
        "fit_t_": switching_time(module).detach().cpu().numpy() * stretch,
        "fit_scaling": scaling,
        "fit_u0": scaled.minimum_u,
        "fit_s0": scaled.minimum_s,
    }


def in_units(means, scaled, stretch):
    """Layers in units of Ms, of Mu and of the stretched time."""
    return {
        "velocity": means["velocity"] * scaled.range_s / stretch,
        "velocity_u": means["velocity_u"] * scaled.range_u / stretch,
        "fit_t": means["time"] * stretch,
        "fitted_s": means["fitted_s"] * scaled.range_s + scaled.minimum_s,
        "fitted_u": means["fitted_u"] * scaled.range_u + scaled.minimum_u,
        "fit_state": means["fit_state"],
    }


def velocity_samples(module, scaled, stretch, draws):
    """The samples whose mean the velocity is, one at a time: (n_cells, n_fitted), in units of Ms and stretched time."""
    for seed in draws.seeds:
        velocity = np.empty_like(scaled.spliced)
        for rows, sample in draw(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            velocity[rows] = sample["velocity"].cpu().numpy()
        yield velocity * scaled.range_s / stretch
