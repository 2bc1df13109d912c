"""VELOVI (Gayoso et al., Nature Methods 2024) from scvi-tools: a variational autoencoder of splicing kinetics.

Every gene has rates and a switching time. Every cell has a latent representation, from which networks decode, for each
gene, the progress in induction and in repression, and a Dirichlet distribution over four states: induction, its steady
state, repression, and the state after it, in which nothing is expressed. As in the authors' code, the moments of each
gene are scaled to between 0 and 1, and genes without a positive steady-state line are left out.

Results are in the units of `Ms` and `Mu`. With the range r and the minimum m of a gene's moments, the model sees
u' = (Mu - m_u) / r_u and s' = (Ms - m_s) / r_s, so that ds/dt = r_s ds'/dt. The time of each gene is stretched so that
the last cell is at 20, as in the authors' tutorial.

Posterior draws are generated one at a time, each from its own seed (`random_state` + number), one batch of cells after
another. They can therefore be generated again, and memory does not grow with their number.
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

# duration of a gene's process, in the model and, as in scVelo, in the result
TOTAL_TIME = 20.0
INDUCTION, INDUCTION_STEADY, REPRESSION, REPRESSION_STEADY = range(4)
# cluster of the cells without a label; permuting counts among them would not be informative
UNLABELED = "unknown"


class Scaled(NamedTuple):
    """Moments of the fitted genes as the model sees them.

    Attributes
    ----------
    genes : ndarray of str, shape (n_fitted,)
        Names.
    spliced, unspliced : ndarray of float32, shape (n_cells, n_fitted)
        Moments, from 0 to 1 in each gene.
    minimum_s, range_s, minimum_u, range_u : ndarray, shape (n_fitted,)
        Minimum and range of the moments, in units of `Ms` and `Mu`.
    """

    genes: np.ndarray
    spliced: np.ndarray
    unspliced: np.ndarray
    minimum_s: np.ndarray
    range_s: np.ndarray
    minimum_u: np.ndarray
    range_u: np.ndarray


class Draws(NamedTuple):
    """Settings of the posterior draws.

    Attributes
    ----------
    seeds : range
        Seed of each draw.
    batch_size : int
        Number of cells that are drawn at once.
    """

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
    """Return VELOVI's velocities, times, rates, states and their uncertainty.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms`, `Mu` and perhaps a column `clusters`.
    folder : Path
        Folder in which the model is saved as in scvi-tools, with `scaling.csv`, by which the moments of other cells are
        scaled, and `permutation_scores.csv`.
    random_state : int
        Seed of the training, and of the first draw.
    n_samples : int
        Number of posterior draws.
    accelerator : {"auto", "cpu", "gpu"}
        Device.
    max_epochs, early_stopping_patience, lr, weight_decay, batch_size, n_hidden, n_latent, n_layers, dropout_rate
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it, with

        - `layers`: `velocity`, `velocity_u`, the means over the draws of ds/dt and du/dt; `fit_t`, the time since the
          gene was switched on; `fitted_s`, `fitted_u`, the expression that the model assigns to a cell; `fit_state`,
          the most probable of the states 0 induction, 1 its steady state, 2 repression, 3 nothing expressed.
        - `var`: rates with scVelo's names and units; `fit_loglikelihood`, VELOVI's gene likelihood, the mean over cells
          of the log density of (s', u'); `fit_likelihood`, as scVelo defines it; `permutation_score`, the largest over
          the clusters.
        - `obs`: five statistics of the angle between the draws and their mean (`directional_uncertainty`).
        - `obsm`: `X_velovi`, the mean latent representation.

    Raises
    ------
    ValueError
        If fewer than two genes are left.
    RuntimeError
        If the training diverges.
    """
    scaled = scale_moments(cells.layers["Ms"], cells.layers["Mu"], np.asarray(cells.var_names, dtype=str))
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
        "samples": velocity_draws(model.module, scaled, stretch, draws),
        "history": history,
    }


def scale_moments(Ms, Mu, genes):
    """Return the `Scaled` moments of the genes that have a steady-state line.

    Parameters
    ----------
    Ms, Mu : ndarray of float, shape (n_cells, n_genes)
        Moments.
    genes : ndarray of str, shape (n_genes,)
        Names.

    Returns
    -------
    Scaled
        Moments of the genes that are kept.

    Raises
    ------
    ValueError
        If fewer than two genes are kept.
    """
    parts = []
    for moments in (Ms, Mu):
        minimum, extent = moments.min(axis=0), np.ptp(moments, axis=0)
        # a constant gene is 0 in all cells, and is left out below
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


def genes_with_signal(spliced, unspliced, *, minimum=0.01):
    """Return the genes that the authors' preprocessing keeps, by scVelo's deterministic velocity of scaled moments.

    gamma is the slope u = gamma s of the cells at or above the 95th percentile of s + u. r2 is of its residuals over
    all cells. Genes with both above the minimum are kept. If there are fewer than two, genes in the upper fifth of r2
    are kept instead.

    Parameters
    ----------
    spliced, unspliced : ndarray of float, shape (n_cells, n_genes)
        Moments, scaled to between 0 and 1.
    minimum : float
        Lower bound of r2 and of gamma.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        Genes that are kept.
    """
    total_expression = spliced + unspliced
    upper = total_expression >= np.percentile(total_expression, 95, axis=0)
    products, squares = (np.sum(values * spliced, axis=0, where=upper) for values in (unspliced, spliced))
    gamma = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
    unexplained = np.sum((unspliced - gamma * spliced) ** 2, axis=0)
    total = np.sum((unspliced - unspliced.mean(axis=0)) ** 2, axis=0)
    r2 = 1 - np.divide(unexplained, total, out=np.ones_like(total), where=total > 0)
    # the model initializes alpha at the median of the uppermost percent, and cannot leave 0 if that is 0
    possible = (r2 > 0) & (gamma > 0) & (np.percentile(unspliced, 99.5, axis=0) > 0)
    kept = possible & (r2 > minimum) & (gamma > minimum)
    if kept.sum() >= 2:
        return kept
    return possible & (r2 > np.percentile(r2, 80))


def scaling_table(scaled):
    """Return the table that scales the moments of other cells: (x - minimum) / range, for the layers Ms and Mu."""
    columns = ("genes", "minimum_s", "range_s", "minimum_u", "range_u")
    names = ("gene", "Ms_minimum", "Ms_range", "Mu_minimum", "Mu_range")
    return pd.DataFrame({name: getattr(scaled, column) for name, column in zip(names, columns, strict=True)})


def new_model(scaled, cells, **options):
    """Return an untrained model of cells with the names `cells`, (n_cells,)."""
    adata = anndata.AnnData(
        obs=pd.DataFrame(index=cells),
        var=pd.DataFrame(index=scaled.genes),
        layers={"Ms": scaled.spliced, "Mu": scaled.unspliced},
    )
    scvi.external.VELOVI.setup_anndata(adata, spliced_layer="Ms", unspliced_layer="Mu")
    return scvi.external.VELOVI(adata, **options)


def train(model, *, lr, **options):
    """Train a model.

    Parameters
    ----------
    model : VELOVI
        Model, which is changed.
    lr : float
        Learning rate.
    **options
        Further options of `VELOVI.train`.

    Returns
    -------
    dict of str to list of float
        Loss of each epoch, of the training cells (`elbo_train`) and of held-out cells (`elbo_validation`).

    Raises
    ------
    RuntimeError
        If the training diverges.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # in a Slurm job with several tasks, Lightning would take this process for one of them
    os.environ.pop("SLURM_NTASKS", None)
    try:
        model.train(lr=lr, enable_progress_bar=False, **options)
    except ValueError as error:  # from PyTorch, about a distribution whose parameters are not finite
        # the lines after the first list the numbers
        reason = str(error).partition("\n")[0]
        raise RuntimeError(f"VELOVI's training diverged; a lr below {lr} may help ({reason})") from error
    history = {name: model.history[name].iloc[:, 0].to_numpy(float) for name in ("elbo_train", "elbo_validation")}
    if not all(np.isfinite(losses).all() for losses in history.values()):
        raise RuntimeError(f"VELOVI's training diverged, its loss is not finite; a lr below {lr} may help")
    log.info("trained for %d epochs", len(history["elbo_train"]))
    return {name: losses.tolist() for name, losses in history.items()}


@torch.inference_mode()
def draw_posterior(module, spliced, unspliced, seed, batch_size):
    """Generate one posterior draw, one batch of cells after another.

    Parameters
    ----------
    module : VELOVAE
        Module of the trained model.
    spliced, unspliced : ndarray of float32, shape (n_cells, n_fitted)
        Scaled moments.
    seed : int
        Seed of the draw.
    batch_size : int
        Number of cells in a batch.

    Yields
    ------
    rows : slice
        Cells of the batch.
    draw : dict of str to Tensor, shape (n_rows, n_fitted)
        `time`, `fitted_s`, `fitted_u`, `velocity` and `velocity_u`, each the mean over the states; `log_likelihood`;
        and `states`, shape (4, n_rows, n_fitted), the probabilities of the states. All values are of the scaled moments
        and in the model's time.
    """
    torch.manual_seed(seed)
    for start in range(0, len(spliced), batch_size):
        rows = slice(start, start + batch_size)
        s, u = (torch.from_numpy(moments[rows]).to(module.device) for moments in (spliced, unspliced))
        latent = module.inference(spliced=s, unspliced=u)
        decoded = module.generative(**module._get_generative_input(None, latent))
        states = decoded["px_pi"].movedim(-1, 0)
        values = values_in_states(module, decoded["px_rho"], decoded["px_tau"])
        draw = {name: sum(p * value for p, value in zip(states, values[name], strict=True)) for name in values}
        # a cell cannot lose more than it has in a unit of time; the authors also apply this to s only
        draw["velocity"] = torch.maximum(draw["velocity"], -s)
        log_likelihood = decoded["mixture_dist_s"].log_prob(s) + decoded["mixture_dist_u"].log_prob(u)
        yield rows, draw | {"log_likelihood": log_likelihood, "states": states}


def values_in_states(module, rho, tau):
    """Return time, expression and its derivatives in each of the four states.

    The time in the state without expression is 0, as in the library. The model also assigns cells before induction to
    this state. With the end of the process instead of 0, times were anticorrelated with the true ones in simulated
    data.

    Parameters
    ----------
    module : VELOVAE
        Module of the trained model.
    rho, tau : Tensor, shape (n_rows, n_fitted)
        Completed fractions of induction and of repression.

    Returns
    -------
    dict of str to tuple
        Values of the four states, by name: `time`, `fitted_s`, `fitted_u`, `velocity`, `velocity_u`.
    """
    gamma, beta, alpha, *constant = module._get_rates()
    switch = switching_time(module)
    since_switch = (TOTAL_TIME - switch) * tau
    u_on, s_on = module._get_induction_unspliced_spliced(alpha, *constant, beta, gamma, switch * rho)
    u_switch, s_switch = module._get_induction_unspliced_spliced(alpha, *constant, beta, gamma, switch)
    u_off, s_off = module._get_repression_unspliced_spliced(u_switch, s_switch, beta, gamma, since_switch)
    return {
        "time": (switch * rho, switch, switch + since_switch, 0.0),
        "fitted_s": (s_on, alpha / gamma, s_off, 0.0),
        "fitted_u": (u_on, alpha / beta, u_off, 0.0),
        "velocity": (beta * u_on - gamma * s_on, 0.0, beta * u_off - gamma * s_off, 0.0),
        "velocity_u": (alpha - beta * u_on, 0.0, -beta * u_off, 0.0),
    }


def switching_time(module):
    """Return the switching time of each gene, a tensor (n_fitted,), in the model's time."""
    return torch.nn.functional.softplus(module.switch_time_unconstr).clamp(0, TOTAL_TIME)


def posterior_means(module, scaled, draws):
    """Return means over posterior draws.

    Parameters
    ----------
    module : VELOVAE
        Module of the trained model.
    scaled : Scaled
        Moments.
    draws : Draws
        Settings of the draws.

    Returns
    -------
    dict of str to ndarray, shape (n_cells, n_fitted)
        Means of the values of `draw_posterior`; `log_likelihood`, shape (n_fitted,), is also averaged over cells.
        Instead of `states` there is `fit_state`, the most probable state.
    """
    shape = scaled.spliced.shape
    per_cell = ("time", "fitted_s", "fitted_u", "velocity", "velocity_u")
    means = {name: np.zeros(shape, np.float32) for name in per_cell} | {"log_likelihood": np.zeros(shape[1])}
    states = np.zeros((4, *shape), np.float32)
    for seed in draws.seeds:
        for rows, draw in draw_posterior(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            for name in per_cell:
                means[name][rows] += draw[name].cpu().numpy() / len(draws.seeds)
            states[:, rows] += draw["states"].cpu().numpy()
            means["log_likelihood"] += draw["log_likelihood"].sum(dim=0, dtype=torch.float64).cpu().numpy()
    means["log_likelihood"] /= len(draws.seeds) * shape[0]
    return means | {"fit_state": states.argmax(axis=0).astype(np.float32)}


def directional_uncertainty(module, scaled, mean, draws):
    """Return VELOVI's five statistics of the directions of posterior draws of the velocity.

    They are statistics of the cosines between draws and their mean, both centered over genes, and of the angles:
    variance, 95th minus 5th percentile, and the mean cosine. As in the authors' code, velocities are of scaled moments
    and in the model's time.

    Parameters
    ----------
    module : VELOVAE
        Module of the trained model.
    scaled : Scaled
        Moments.
    mean : ndarray of float32, shape (n_cells, n_fitted)
        Mean velocity over the same draws, which are generated again.
    draws : Draws
        Settings of the draws.

    Returns
    -------
    dict of str to ndarray of float, shape (n_cells,)
        Statistics by the library's names.
    """
    cosines = np.empty((len(mean), len(draws.seeds)))
    for number, seed in enumerate(draws.seeds):
        for rows, draw in draw_posterior(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            pair = (centered_directions(values) for values in (draw["velocity"].cpu().numpy(), mean[rows]))
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


def centered_directions(vectors):
    """Return rows minus their means, scaled to length 1; NaN for constant rows.

    The result is in double precision, for the angles of nearly parallel vectors.
    """
    centered = vectors - vectors.mean(axis=1, keepdims=True, dtype=np.float64)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


def permutation_scores(module, scaled, means, clusters, draws):
    """Return how much worse the model describes a gene after its counts are permuted among the cells of a cluster.

    In each cluster, s and u of each gene are permuted independently. The error of a cell is |fitted s - s| +
    |fitted u - u|. The score is Student's t of the errors with permuted moments against those without. It is high for
    genes whose u and s follow a curve together, and grows with the square root of the number of cells: all cells of the
    cluster are used, of which the library uses the first 200.

    Parameters
    ----------
    module : VELOVAE
        Module of the trained model.
    scaled : Scaled
        Moments.
    means : dict of str to ndarray
        Result of `posterior_means`.
    clusters : ndarray of str, shape (n_cells,)
        Cluster of each cell.
    draws : Draws
        Settings of the draws.

    Returns
    -------
    DataFrame, shape (n_fitted, n_clusters)
        Score of each gene in each cluster of at least two cells.
    """
    rng = np.random.default_rng(draws.seeds.start)
    scores = {}
    for cluster in np.unique(clusters[clusters != UNLABELED]):
        rows = np.flatnonzero(clusters == cluster)
        if len(rows) < 2:
            continue
        observed = [moments[rows] for moments in (scaled.spliced, scaled.unspliced)]
        permuted = [rng.permuted(moments, axis=0) for moments in observed]
        permuted_fits = [np.zeros_like(moments) for moments in observed]
        for seed in draws.seeds:
            for batch, draw in draw_posterior(module, *permuted, seed, draws.batch_size):
                for fitted, name in zip(permuted_fits, ("fitted_s", "fitted_u"), strict=True):
                    fitted[batch] += draw[name].cpu().numpy() / len(draws.seeds)
        observed_fits = means["fitted_s"][rows], means["fitted_u"][rows]
        errors = [
            sum(np.abs(fitted - moments) for fitted, moments in zip(fits, both_moments, strict=True))
            for fits, both_moments in ((permuted_fits, permuted), (observed_fits, observed))
        ]
        scores[cluster] = ttest_ind(*errors, axis=0).statistic
    return pd.DataFrame(scores, index=scaled.genes)


def likelihood(means, scaled):
    """Return scVelo's likelihood of each gene (Bergen et al. 2020), of the expression that VELOVI assigns to the cells.

    d is the distance of (s, u) to the fit in standard deviations, with the sign of the spliced residual, and v is its
    variance: exp(-mean(d^2) / 2v) / sqrt(2 pi v), over cells above a third of both ranges. VELOVI's own density has no
    upper bound, and the thresholds of latent time and verdict were chosen for this likelihood.

    Parameters
    ----------
    means : dict of str to ndarray
        Result of `posterior_means`.
    scaled : Scaled
        Moments.

    Returns
    -------
    ndarray of float, shape (n_fitted,)
        Likelihood; NaN where v is 0.
    """
    likelihoods = np.full(len(scaled.genes), np.nan)
    for gene in range(len(likelihoods)):
        s, u = (moments[:, gene].astype(float) for moments in (scaled.spliced, scaled.unspliced))
        upper = (s > 1 / 3) & (u > 1 / 3)
        ds = (means["fitted_s"][upper, gene] - s[upper]) / s.std()
        du = (means["fitted_u"][upper, gene] - u[upper]) / u.std()
        distances = np.sign(ds) * np.hypot(ds, du)
        # a single cell has no variance
        variance = np.var(distances) if len(distances) > 1 else 0.0
        if variance > 0:
            likelihoods[gene] = np.exp(-np.mean(distances**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return likelihoods


def rates(module, scaled, stretch):
    """Return columns (n_fitted,) with scVelo's names, in units of Ms and Mu and of the stretched time."""
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
    """Return layers (n_cells, n_fitted) in units of Ms, of Mu and of the stretched time."""
    return {
        "velocity": means["velocity"] * scaled.range_s / stretch,
        "velocity_u": means["velocity_u"] * scaled.range_u / stretch,
        "fit_t": means["time"] * stretch,
        "fitted_s": means["fitted_s"] * scaled.range_s + scaled.minimum_s,
        "fitted_u": means["fitted_u"] * scaled.range_u + scaled.minimum_u,
        "fit_state": means["fit_state"],
    }


def velocity_draws(module, scaled, stretch, draws):
    """Generate the posterior draws of the velocity, (n_cells, n_fitted) each, in units of Ms and stretched time."""
    for seed in draws.seeds:
        velocity = np.empty_like(scaled.spliced)
        for rows, draw in draw_posterior(module, scaled.spliced, scaled.unspliced, seed, draws.batch_size):
            velocity[rows] = draw["velocity"].cpu().numpy()
        yield velocity * scaled.range_s / stretch
