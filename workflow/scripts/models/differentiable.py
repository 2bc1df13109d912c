"""Differentiable velocity: an encoder of the time of each cell, trained through the splicing equations.

The model pursues the goal of DiffBio's DifferentiableVelocity. There, the time of a cell enters neither the velocity
nor the loss, and remains that of the untrained encoder. Here, abundances are functions of the time, and all parameters
have gradients.

The encoder, a network on the moments of a cell, returns its time t in (0, `DURATION`), which all genes share, and its
shares w_k in a few curves, which sum to 1. On curve k, transcription is alpha_k above a basal rate from on_k to off_k:

    u(t) = basal / beta  + sum_k w_k alpha_k (r_u(t - on_k) - r_u(t - off_k)),
    s(t) = basal / gamma + sum_k w_k alpha_k (r_s(t - on_k) - r_s(t - off_k)),

where r is the response to transcription that is switched on (`step_response`), in closed form (La Manno et al. 2018).
The equations are linear, so that a mixture of curves also solves them, and fates may branch off a common past. The
velocity does not include the change of a cell's shares.

Arrays of the model have the shape (n_cells, n_genes). Spliced and unspliced abundance, s and u, are in standard
deviations of the gene.
"""

import logging
import os
from typing import NamedTuple

# sums over several threads depend on the number of threads; JAX reads these variables when it is imported
os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import sparse
from scipy.cluster.vq import kmeans2
from scipy.sparse.linalg import cg

log = logging.getLogger("differentiable")

# duration of the process, as in scVelo: about eight half-lives of an RNA
DURATION = 20.0
# Priors: medians, and standard deviations of the logarithms. The shape of a curve hardly determines the ratio
# gamma/beta, because the scaling of unspliced counts is free. It determines gamma, because all genes share the time.
RATIO, RATIO_LOG_SD = 0.5, 0.3
GAMMA, GAMMA_LOG_SD = 0.4, 0.7
# lower bound of the residual scale, in standard deviations of the gene, so that no gene determines the time alone
MIN_SD = 0.1
# of Student's t: outliers have less influence than under a normal distribution
DEGREES_OF_FREEDOM = 5.0
# weight of the deviation of a batch's times from uniform ones, which keeps times apart where no gene changes
EVENNESS_WEIGHT = 1.0
# switch-on time of transcription that has reached its steady state before the process begins
LONG_BEFORE_START = -2.0 * DURATION

# steps between two evaluations of the held-out cells
STEPS_PER_CHECK = 50
# training steps of each start
START_STEPS = 150
HELD_OUT_FRACTION = 0.1
# training of the encoder alone, toward a start
PRETRAINING_STEPS, PRETRAINING_RATE = 300, 0.003
# learning rate of the encoder, as a fraction of that of the genes
ENCODER_RATE_FACTOR = 0.2
# cells from which the kinetics of a start are estimated, and cells that are evaluated at once
N_START_CELLS = 2000
N_EVALUATED_AT_ONCE = 1024


class Cells(NamedTuple):
    """Cells as the model sees them.

    Attributes
    ----------
    inputs : array of float32, shape (n_cells, 2 n_genes)
        log1p of both moments, standardized.
    u, s : array of float32, shape (n_cells, n_genes)
        Abundances.
    indptr, indices : ndarray of int
        Neighbors of each cell, as in a CSR matrix.
    """

    inputs: object
    u: object
    s: object
    indptr: object
    indices: object


class Scales(NamedTuple):
    """Scales that convert moments to `Cells`.

    Attributes
    ----------
    u, s : ndarray, shape (n_genes,)
        Standard deviations of the moments.
    center, width : ndarray, shape (2 n_genes,)
        Means and standard deviations of the inputs.
    """

    u: np.ndarray
    s: np.ndarray
    center: np.ndarray
    width: np.ndarray


class Kinetics(NamedTuple):
    """Parameters of the splicing kinetics, per unit of time.

    Attributes
    ----------
    beta, gamma : array, shape (n_genes,)
        Rates of splicing and degradation.
    scaling : array, shape (n_genes,)
        Observed u per unit of u in the equations.
    basal : array, shape (n_genes,)
        Basal rate of transcription.
    alpha, on, off : array, shape (n_curves, n_genes)
        Rate of transcription above the basal rate, and the times at which it is switched on and off.
    """

    beta: object
    gamma: object
    scaling: object
    basal: object
    alpha: object
    on: object
    off: object


class Training(NamedTuple):
    """State of a training.

    Attributes
    ----------
    params : dict
        Parameters.
    state : object
        State of the optimizer.
    history : list of dict
        Loss and its parts, once every `STEPS_PER_CHECK` steps.
    best : dict
        Parameters with the smallest loss on held-out cells.
    best_check : int
        Number of the evaluation that gave `best`.
    """

    params: dict
    state: object
    history: list
    best: dict
    best_check: int


class Start(NamedTuple):
    """Initial values of a training.

    Attributes
    ----------
    time : ndarray, shape (n_cells,)
        Time of each cell.
    shares : ndarray, shape (n_cells, n_curves)
        Shares in the curves.
    genes : dict
        Parameters of the genes.
    """

    time: np.ndarray
    shares: np.ndarray
    genes: dict


def fit(
    cells,
    *,
    folder,
    random_state=0,
    n_curves=3,
    velocity="shrunken",
    reconstruction_weight=1.0,
    consistency_weight=1.0,
    n_hidden=64,
    n_steps=1000,
    batch_size=512,
    learning_rate=0.01,
    patience=10,
    min_r2=0.3,
):
    """Train the model, and return velocities, times and rates of the genes that vary in both layers.

    Parameters
    ----------
    cells : AnnData, shape (n_cells, n_genes)
        Cells with the layers `Ms` and `Mu` and the graph `distances`.
    folder : Path
        Folder in which the trained model is saved, see `load`.
    random_state : int
        Seed of the initial values, the batches and the held-out cells.
    n_curves : int
        Number of curves per gene.
    velocity : {"shrunken", "fitted", "observed"}
        Velocity on the curves, of the moments with the fitted rates, or between the two (`shrink_velocity`).
    min_r2 : float
        Lower bound of `fit_r2` of the velocity genes.
    reconstruction_weight, consistency_weight, n_hidden, n_steps, batch_size, learning_rate, patience
        Options of the model, as described in its schema.

    Returns
    -------
    dict
        Result as `run_model` takes it. Columns `fit_*` describe the curve from which most of a gene's RNA comes. The
        layer `fit_t` is the time since that curve switched the gene on, negative before.

    Raises
    ------
    ValueError
        If no gene varies, there are fewer than 10 cells, or a cell has no neighbors.
    RuntimeError
        If the training diverges.
    """
    spliced, unspliced = cells.layers["Ms"], cells.layers["Mu"]
    varies = (spliced.std(axis=0) > 0) & (unspliced.std(axis=0) > 0)
    if not varies.any() or len(spliced) < 10:
        raise ValueError(
            f"the model needs at least 1 gene that varies in both layers and 10 cells; here are {varies.sum()} such "
            f"genes and {len(spliced)} cells"
        )
    spliced, unspliced = spliced[:, varies], unspliced[:, varies]
    scales = scales_of(unspliced, spliced)
    distances = sparse.csr_matrix(cells.obsp["distances"])
    data = as_cells(unspliced, spliced, scales, distances)
    n_neighbors = distances.nnz / len(spliced)

    rng = np.random.default_rng(random_state)
    prior_weight = (1 + n_neighbors) / len(spliced)
    starts = {}
    for name, start in find_starts(data, rng, n_curves=n_curves, prior_weight=prior_weight).items():
        encoder = initial_encoder(rng, data.inputs.shape[1], n_hidden=n_hidden, n_curves=n_curves)
        encoder = pretrain_encoder(encoder, data, start, rng, batch_size=batch_size)
        starts[name] = {"encoder": encoder, "genes": start.genes}
    params, history = train(
        starts,
        data,
        rng,
        weights={"reconstruction": reconstruction_weight, "consistency": consistency_weight},
        prior_weight=prior_weight,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
    )
    save(folder, params, scales, cells.var_names[varies])
    values = evaluate(params, scales, unspliced, spliced)
    if not np.isfinite(values["velocity"]).all():
        raise RuntimeError("the training diverged: try a learning_rate that is ten times smaller")
    columns = gene_columns(params, scales, values, unspliced, spliced)
    columns["fit_curve_weight"], values["shrunken_velocity"] = shrink_velocity(
        values["velocity"], values["observed_velocity"]
    )
    return {
        "genes": np.asarray(cells.var_names[varies]),
        "layers": {
            "velocity": values["velocity" if velocity == "fitted" else f"{velocity}_velocity"],
            "velocity_u": values["velocity_u"],
            "fit_t": values["time"][:, None] - columns.pop("on"),
        },
        "var": {**columns, "velocity_genes": columns["fit_r2"] > min_r2},
        "obs": {"time": values["time"]},
        "obsm": {"shares": values["shares"]},
        "history": history,
    }


# The model


def step_response(tau, beta, gamma):
    """Return (u, s) at `tau` after transcription at rate 1 was switched on, starting from zero.

    u = (1 - e^(-beta tau)) / beta,   s = (1 - e^(-gamma tau)) / gamma + q,
    q = (e^(-gamma tau) - e^(-beta tau)) / (gamma - beta), by its series where the rates are close.

    Parameters
    ----------
    tau : array
        Time since the switch. Before it, the response is 0.
    beta, gamma : array
        Rates of splicing and degradation.

    Returns
    -------
    u, s : array
        Abundances.
    """
    tau = jnp.maximum(tau, 0.0)
    decay_u, decay_s = jnp.exp(-beta * tau), jnp.exp(-gamma * tau)
    gap = gamma - beta
    half = 0.5 * gap * tau
    near = jnp.abs(half) < 0.25
    # `where` differentiates both branches: the one that is not selected has to be finite
    apart = (decay_s - decay_u) / jnp.where(near, 1.0, gap)
    # sinh(half) / half at the mean of the rates; the next term of the series is 5e-8
    square = jnp.where(near, half, 0.0) ** 2
    series = 1.0 + square / 6 * (1.0 + square / 20)
    close = -tau * jnp.exp(-0.5 * (beta + gamma) * tau) * series
    quotient = jnp.where(near, close, apart)
    return (1.0 - decay_u) / beta, (1.0 - decay_s) / gamma + quotient


def kinetics_of(genes):
    """Return the `Kinetics` of unconstrained parameters of genes."""
    return Kinetics(
        beta=jnp.exp(genes["log_beta"]),
        gamma=jnp.exp(genes["log_gamma"]),
        scaling=jnp.exp(genes["log_scaling"]),
        basal=jax.nn.softplus(genes["basal"]),
        alpha=jax.nn.softplus(genes["alpha"]),
        on=genes["on"],
        off=genes["on"] + jax.nn.softplus(genes["period"]),
    )


def abundances(kinetics, time, shares):
    """Return u and s, (n_cells, n_genes), of the equations, without the scaling of u.

    Parameters
    ----------
    kinetics : Kinetics
        Parameters of the genes.
    time : array, shape (n_cells,)
        Time of each cell.
    shares : array, shape (n_cells, n_curves)
        Shares in the curves.

    Returns
    -------
    u, s : array, shape (n_cells, n_genes)
        Abundances.
    """
    u, s = kinetics.basal / kinetics.beta, kinetics.basal / kinetics.gamma
    for alpha, on, off, share in zip(kinetics.alpha, kinetics.on, kinetics.off, shares.T, strict=True):
        switched_on = step_response(time[:, None] - on, kinetics.beta, kinetics.gamma)
        switched_off = step_response(time[:, None] - off, kinetics.beta, kinetics.gamma)
        u = u + share[:, None] * alpha * (switched_on[0] - switched_off[0])
        s = s + share[:, None] * alpha * (switched_on[1] - switched_off[1])
    return u, s


def transcription_rate(kinetics, time, shares):
    """Return the rate of transcription of each gene in each cell."""
    rate = kinetics.basal
    for alpha, on, off, share in zip(kinetics.alpha, kinetics.on, kinetics.off, shares.T, strict=True):
        rate = rate + share[:, None] * alpha * ((time[:, None] > on) & (time[:, None] <= off))
    return rate


def encode(encoder, inputs):
    """Return times (n_cells,) and shares (n_cells, n_curves)."""
    hidden = jax.nn.gelu(inputs @ encoder["weights_1"] + encoder["bias_1"])
    hidden = jax.nn.gelu(hidden @ encoder["weights_2"] + encoder["bias_2"])
    hidden = jax.nn.standardize(hidden, axis=1) * encoder["gain"] + encoder["offset"]
    out = hidden @ encoder["weights_3"] + encoder["bias_3"]
    return DURATION * jax.nn.sigmoid(out[:, 0]), jax.nn.softmax(out[:, 1:], axis=1)


def initial_encoder(rng, n_inputs, *, n_hidden, n_curves):
    """Return random weights of the encoder, which preserve the variance from layer to layer."""

    def weights(n_in, n_out):
        return jnp.asarray(rng.normal(0, n_in**-0.5, (n_in, n_out)), jnp.float32)

    return {
        "weights_1": weights(n_inputs, n_hidden),
        "bias_1": jnp.zeros(n_hidden),
        "weights_2": weights(n_hidden, n_hidden),
        "bias_2": jnp.zeros(n_hidden),
        "gain": jnp.ones(n_hidden),
        "offset": jnp.zeros(n_hidden),
        "weights_3": weights(n_hidden, 1 + n_curves),
        "bias_3": jnp.zeros(1 + n_curves),
    }


# The loss


def loss_parts(params, batch, *, prior_weight):
    """Return the parts of the loss.

    reconstruction : of u and s, minus the log-likelihood under Student's t, whose scale is a parameter of the gene.
    consistency : 1 - tanh(t_j - t_i) cos(s_j - s_i, v_i + v_j), where v = beta u - gamma s of the observed moments.
    prior : minus the log prior of the rates.
    evenness : mean squared deviation of the times of the batch from uniform ones.

    Parameters
    ----------
    params : dict
        Parameters of the encoder and of the genes.
    batch : tuple of array
        Inputs, u and s of cells. The second half of the cells are neighbors of the first half.
    prior_weight : float
        Weight of the prior: 1 + the mean number of neighbors, over the number of cells. The other parts are means over
        cells, and the counts of a cell enter the moments of all its neighbors.

    Returns
    -------
    dict of str to array, shape ()
        Parts by name.
    """
    inputs, u, s = batch
    genes = params["genes"]
    kinetics = kinetics_of(genes)
    time, shares = encode(params["encoder"], inputs)
    fitted_u, fitted_s = abundances(kinetics, time, shares)
    reconstruction = misfit(u - kinetics.scaling * fitted_u, genes["log_sd_u"]) + misfit(
        s - fitted_s, genes["log_sd_s"]
    )
    velocity = kinetics.beta * u / kinetics.scaling - kinetics.gamma * s
    cell, neighbor = jnp.split(jnp.arange(len(time)), 2)
    agreement = jnp.tanh(time[neighbor] - time[cell]) * cosine(
        s[neighbor] - s[cell], velocity[cell] + velocity[neighbor]
    )
    rank = (jnp.arange(len(time)) + 0.5) / len(time)
    return {
        "reconstruction": jnp.mean(reconstruction),
        "consistency": jnp.mean(1.0 - agreement),
        "prior": prior_weight * jnp.mean(minus_log_prior(genes["log_beta"], genes["log_gamma"])),
        "evenness": EVENNESS_WEIGHT * jnp.mean((jnp.sort(time) / DURATION - rank) ** 2),
    }


def misfit(residual, log_sd):
    """Return minus the log-likelihood of Student's t, up to a constant."""
    sd = MIN_SD + jnp.exp(log_sd)
    return jnp.log(sd) + 0.5 * (DEGREES_OF_FREEDOM + 1) * jnp.log(1.0 + (residual / sd) ** 2 / DEGREES_OF_FREEDOM)


def minus_log_prior(log_beta, log_gamma):
    """Return minus the log prior of the rates, up to a constant."""
    ratio = (log_gamma - log_beta - np.log(RATIO)) / RATIO_LOG_SD
    return 0.5 * (ratio**2 + ((log_gamma - np.log(GAMMA)) / GAMMA_LOG_SD) ** 2)


def cosine(first, second):
    """Return the cosine between the rows of two matrices; 0 where one is 0."""
    norms = jnp.sum(first**2, axis=1) * jnp.sum(second**2, axis=1)
    return jnp.sum(first * second, axis=1) / jnp.sqrt(norms + 1e-12)


# The starts: orders of the cells, with the kinetics that fit them best


def find_starts(data, rng, *, n_curves, prior_weight):
    """Return starts for three orders of the cells. Training selects one of them (`train`).

    The orders are a potential, whose differences between neighbors approximate the cosines of the steady-state
    velocity, and the first principal component in both directions.

    Parameters
    ----------
    data : Cells
        Cells.
    rng : numpy.random.Generator
        Random generator.
    n_curves : int
        Number of curves.
    prior_weight : float
        Weight of the prior, see `loss_parts`.

    Returns
    -------
    dict of str to Start
        Starts by name.
    """
    subsample = np.sort(rng.permutation(len(data.s))[:N_START_CELLS])
    pcs = principal_components(np.asarray(data.s), subsample)
    orders = {"potential": potential(data), "component": pcs[:, 0], "component, reversed": -pcs[:, 0]}
    starts = {}
    for name, order in orders.items():
        time = even_times(order)
        shares = initial_shares(rng, pcs, time, n_curves)
        genes = kinetics_at(
            data.u[subsample], data.s[subsample], time[subsample], shares[subsample], prior_weight=prior_weight
        )
        starts[name] = Start(time, shares, genes)
    return starts


def principal_components(s, subsample):
    """Return the coordinates of all cells on the first ten principal components of a subsample."""
    center = s[subsample].mean(axis=0)
    return (s - center) @ np.linalg.svd(s[subsample] - center, full_matrices=False)[2][:10].T


def potential(data):
    """Return values (n_cells,) whose differences between neighbors approximate cosines of the steady-state velocity.

    They are a least-squares solution on the graph. A cell without velocity gets a value near those of its neighbors.
    """
    cell = np.repeat(np.arange(len(data.s)), np.diff(data.indptr))
    neighbor = np.asarray(data.indices)
    velocity = steady_state_velocity(np.asarray(data.u), np.asarray(data.s))
    s = np.asarray(data.s)
    blocks = np.array_split(np.arange(len(cell)), len(cell) // 10_000 + 1)
    cosines = [np.asarray(cosine(s[neighbor[k]] - s[cell[k]], velocity[cell[k]])) for k in blocks]
    edges = np.arange(len(cell))
    difference = sparse.csr_matrix((np.ones(len(edges)), (edges, neighbor)), shape=(len(edges), len(s)))
    difference = difference - sparse.csr_matrix((np.ones(len(edges)), (edges, cell)), shape=difference.shape)
    # plus a small multiple of the identity: the potential of each connected component is defined up to a constant
    laplacian = difference.T @ difference + 1e-3 * sparse.eye(len(s))
    return cg(laplacian, difference.T @ np.concatenate(cosines), rtol=1e-4)[0]


def steady_state_velocity(u, s):
    """Return u minus the line through the 5 % of cells with the highest expression (La Manno et al. 2018)."""
    expressed = u / u.max(axis=0) + s / s.max(axis=0)
    extreme = expressed >= np.percentile(expressed, 95, axis=0)
    slope = np.sum(extreme * u * s, axis=0) / np.maximum(np.sum(extreme * s**2, axis=0), 1e-9)
    return u - slope * s


def even_times(order):
    """Return times (n_cells,) in this order, spread evenly over the process."""
    ranks = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    return (DURATION * (ranks + 0.5) / len(order)).astype(np.float32)


def initial_shares(rng, pcs, time, n_curves):
    """Return shares (n_cells, n_curves): soft clusters of the residuals of the components on a polynomial of time."""
    basis = np.polynomial.legendre.legvander(2 * time / DURATION - 1, 4)
    residuals = pcs - basis @ np.linalg.lstsq(basis, pcs, rcond=None)[0]
    _, cluster = kmeans2(residuals, n_curves, minit="++", seed=rng)
    return (0.7 * np.eye(n_curves)[cluster] + 0.3 / n_curves).astype(np.float32)


def kinetics_at(u, s, time, shares, *, prior_weight):
    """Return the parameters of the genes that explain most at given times and shares.

    All pairs of rates on a grid are tried for each gene, with all pairs of switching times on each curve. Amplitudes
    are then linear, and are fitted by least squares, independently for each curve.

    Parameters
    ----------
    u, s : array, shape (n_cells, n_genes)
        Abundances.
    time : ndarray, shape (n_cells,)
        Time of each cell.
    shares : ndarray, shape (n_cells, n_curves)
        Shares in the curves.
    prior_weight : float
        Weight of the prior, see `loss_parts`.

    Returns
    -------
    dict of str to array
        Unconstrained parameters, see `kinetics_of`.
    """
    u, s = np.asarray(u), np.asarray(s)
    edges = np.arange(0.0, DURATION, 1.5)
    pairs = [(on, off) for on in [LONG_BEFORE_START, *edges] for off in [*edges, 2 * DURATION] if off > on]
    on, off = np.array(pairs, dtype=np.float32).T
    best_gain, best = np.full(u.shape[1], -np.inf), {}
    for log_gamma in np.log(GAMMA) + np.array([-1.2, -0.6, 0.0, 0.6, 1.2]):
        for log_beta in log_gamma - np.log(RATIO) + np.array([-0.4, 0.0, 0.4]):
            rates = np.exp(log_beta), np.exp(log_gamma)
            after_on, after_off = (step_response(time[:, None] - switch, *rates) for switch in (on, off))
            shapes = [np.asarray(first - second) for first, second in zip(after_on, after_off, strict=True)]
            pair, gain, *amplitudes = best_switches(shapes, (u, s), shares)
            gain = gain / len(u) - prior_weight * minus_log_prior(log_beta, log_gamma)
            candidate = {"log_beta": np.full_like(gain, log_beta), "log_gamma": np.full_like(gain, log_gamma)}
            candidate |= {"on": on[pair], "off": off[pair], "amplitude_u": amplitudes[0], "amplitude_s": amplitudes[1]}
            better = gain > best_gain
            best = {name: np.where(better, values, best.get(name, values)) for name, values in candidate.items()}
            best_gain = np.maximum(best_gain, gain)
    return as_parameters(best)


def best_switches(shapes, observed, shares):
    """Return the pair of switching times of each curve that explains most of each gene.

    Parameters
    ----------
    shapes : list of ndarray, shape (n_cells, n_pairs)
        Abundances of u and of s at alpha = 1.
    observed : tuple of ndarray, shape (n_cells, n_genes)
        u and s.
    shares : ndarray, shape (n_cells, n_curves)
        Shares in the curves.

    Returns
    -------
    pair : ndarray of int, shape (n_curves, n_genes)
        Indices of pairs.
    gain : ndarray, shape (n_genes,)
        Explained sum of squares.
    amplitude_u, amplitude_s : ndarray, shape (n_curves, n_genes)
        Amplitudes.
    """
    genes = np.arange(observed[0].shape[1])
    pairs, gain, amplitudes = [], 0.0, []
    for share in shares.T:
        products = [(share[:, None] * shape).T @ values for shape, values in zip(shapes, observed, strict=True)]
        squares = [np.sum(share[:, None] * shape**2, axis=0)[:, None] + 1e-6 for shape in shapes]
        explained = products[0] ** 2 / squares[0] + products[1] ** 2 / squares[1]
        pair = explained.argmax(axis=0)
        pairs.append(pair)
        gain = gain + explained[pair, genes]
        amplitudes.append([(sums / square)[pair, genes] for sums, square in zip(products, squares, strict=True)])
    return np.array(pairs), gain, *np.array(amplitudes).transpose(1, 0, 2)


def as_parameters(kinetics):
    """Return unconstrained parameters of genes from rates, switching times and amplitudes."""
    amplitude_u, amplitude_s = (np.maximum(kinetics[f"amplitude_{layer}"], 1e-3) for layer in "us")
    n_genes = amplitude_s.shape[1]
    parameters = {
        "log_beta": kinetics["log_beta"],
        "log_gamma": kinetics["log_gamma"],
        "log_scaling": np.log(amplitude_u.sum(axis=0) / amplitude_s.sum(axis=0)),
        # a rate of nearly 0
        "basal": np.full(n_genes, -5.0),
        "alpha": softplus_inverse(amplitude_s),
        "on": kinetics["on"],
        "period": softplus_inverse(kinetics["off"] - kinetics["on"]),
        "log_sd_u": np.full(n_genes, np.log(0.5)),
        "log_sd_s": np.full(n_genes, np.log(0.5)),
    }
    return {name: jnp.asarray(values, jnp.float32) for name, values in parameters.items()}


def softplus_inverse(values):
    """Return the inverse of softplus."""
    return values + np.log(-np.expm1(-values))


# Training


def pretrain_encoder(encoder, data, start, rng, *, batch_size):
    """Return the encoder after training it to return the times and shares of a start."""
    time, shares = jnp.asarray(start.time), jnp.asarray(start.shares)

    def loss(encoder, rows):
        encoded_time, encoded_shares = encode(encoder, data.inputs[rows])
        cross_entropy = -jnp.sum(shares[rows] * jnp.log(encoded_shares + 1e-6), axis=1)
        return jnp.mean(((encoded_time - time[rows]) / DURATION) ** 2 + 0.05 * cross_entropy)

    batches = rng.integers(len(time), size=(PRETRAINING_STEPS, min(batch_size, len(time))))
    optimizer = optax.adam(PRETRAINING_RATE)

    @jax.jit
    def run(encoder):
        def step(carry, rows):
            encoder, state = carry
            updates, state = optimizer.update(jax.grad(loss)(encoder, rows), state)
            return (optax.apply_updates(encoder, updates), state), None

        return jax.lax.scan(step, (encoder, optimizer.init(encoder)), batches)[0][0]

    return run(encoder)


def train(starts, data, rng, *, weights, prior_weight, n_steps, batch_size, learning_rate, patience):
    """Train the model from several starts, and return the parameters with the smallest loss on held-out cells.

    Training runs for `START_STEPS` steps from each start, and continues with the one whose loss is then smallest. The
    equations determine the direction of time, because unspliced RNA comes first. A step uses a batch of cells, and one
    neighbor of each.

    Parameters
    ----------
    starts : dict of str to dict
        Initial parameters by name.
    data : Cells
        Cells.
    rng : numpy.random.Generator
        Random generator.
    weights : dict of str to float
        Weights of parts of the loss; 1 for parts that are not in it.
    prior_weight : float
        Weight of the prior, see `loss_parts`.
    n_steps : int
        Maximum number of steps.
    batch_size : int
        Number of cells per step, without their neighbors.
    learning_rate : float
        Initial learning rate.
    patience : int
        Number of evaluations of the held-out cells without improvement after which training ends.

    Returns
    -------
    params : dict
        Parameters.
    history : dict of str to list of float
        Loss and its parts, with one value every `STEPS_PER_CHECK` steps.
    """
    cells = rng.permutation(len(data.s))
    held_out, training_cells = np.split(cells, [max(2, int(HELD_OUT_FRACTION * len(cells)))])
    held_out = batch_of(data, with_neighbors(rng, data, held_out))
    optimizer = optimizer_of(learning_rate, n_steps)

    def loss(params, batch):
        parts = loss_parts(params, batch, prior_weight=prior_weight)
        return sum(weights.get(name, 1.0) * part for name, part in parts.items()), parts

    @jax.jit
    def run(params, state, batches):
        def step(carry, rows):
            params, state = carry
            (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch_of(data, rows))
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), {"loss": value, **parts}

        (params, state), curve = jax.lax.scan(step, (params, state), batches)
        return (
            params,
            state,
            {name: values.mean() for name, values in curve.items()} | {"held_out": loss(params, held_out)[0]},
        )

    def continue_training(training):
        rows = rng.choice(training_cells, (STEPS_PER_CHECK, min(batch_size, len(training_cells))))
        params, state, curve = run(training.params, training.state, with_neighbors(rng, data, rows))
        history = [*training.history, {name: float(value) for name, value in curve.items()}]
        improved = history[-1]["held_out"] <= min(check["held_out"] for check in history)
        return Training(params, state, history, *((params, len(history)) if improved else training[3:]))

    trainings = {}
    for name, params in starts.items():
        training = Training(params, optimizer.init(params), [], params, 0)
        for _ in range(min(START_STEPS, n_steps) // STEPS_PER_CHECK):
            training = continue_training(training)
        trainings[name] = training
        log.info("start %s: loss %.3f on held-out cells", name, training.history[-1]["held_out"])
    training = min(trainings.values(), key=lambda training: training.history[-1]["held_out"])
    while len(training.history) < n_steps // STEPS_PER_CHECK and len(training.history) - training.best_check < patience:
        training = continue_training(training)
    history = training.history
    log.info(
        "%d steps: loss %.3f on held-out cells",
        len(history) * STEPS_PER_CHECK,
        history[training.best_check - 1]["held_out"],
    )
    return training.best, {name: [check[name] for check in history] for name in history[0]}


def optimizer_of(learning_rate, n_steps):
    """Return Adam with cosine decay of the learning rate, which is smaller for the encoder than for the genes."""
    rate = optax.cosine_decay_schedule(learning_rate, n_steps)
    optimizers = {"genes": optax.adam(rate), "encoder": optax.adam(lambda count: ENCODER_RATE_FACTOR * rate(count))}
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(optimizers, {"genes": "genes", "encoder": "encoder"}),
    )


def with_neighbors(rng, data, rows):
    """Return cells (..., 2 n): those in `rows` (..., n), then one random neighbor of each."""
    number = (rng.random(rows.shape) * np.diff(data.indptr)[rows]).astype(np.int64)
    return np.concatenate([rows, data.indices[data.indptr[rows] + number]], axis=-1)


def batch_of(data, rows):
    """Return inputs, u and s of the cells in `rows`."""
    return data.inputs[rows], data.u[rows], data.s[rows]


# Between moments and the model, and on disk


def scales_of(unspliced, spliced):
    """Return the `Scales` of moments (n_cells, n_genes)."""
    inputs = np.log1p(np.hstack([spliced, unspliced]))
    return Scales(unspliced.std(axis=0), spliced.std(axis=0), inputs.mean(axis=0), inputs.std(axis=0))


def as_cells(unspliced, spliced, scales, distances):
    """Return `Cells` of moments (n_cells, n_genes) and a neighbor graph; ValueError if a cell has no neighbors."""
    if np.diff(distances.indptr).min() == 0:
        raise ValueError("a cell has no neighbors; prepare the data with n_neighbors of at least 2")
    inputs = (np.log1p(np.hstack([spliced, unspliced])) - scales.center) / scales.width
    arrays = (jnp.asarray(values, jnp.float32) for values in (inputs, unspliced / scales.u, spliced / scales.s))
    return Cells(*arrays, distances.indptr, distances.indices)


def evaluate(params, scales, unspliced, spliced):
    """Return the model's values for moments, in their units and per unit of time.

    Parameters
    ----------
    params : dict
        Parameters of the encoder and of the genes.
    scales : Scales
        Scales of the moments with which the model was trained.
    unspliced, spliced : ndarray, shape (n_cells, n_genes)
        Moments.

    Returns
    -------
    dict of str to ndarray
        `time`, shape (n_cells,), and `shares`, shape (n_cells, n_curves); all others have the shape (n_cells, n_genes):
        abundances `u` and `s`; `velocity` and `velocity_u`, ds/dt and du/dt on the curves; and `observed_velocity`,
        beta u - gamma s of the moments.
    """
    kinetics = kinetics_of(params["genes"])

    @jax.jit
    def evaluate_block(inputs, observed_u, observed_s):
        time, shares = encode(params["encoder"], inputs)
        u, s = abundances(kinetics, time, shares)
        return {
            "time": time,
            "shares": shares,
            "u": kinetics.scaling * u * scales.u,
            "s": s * scales.s,
            "velocity": (kinetics.beta * u - kinetics.gamma * s) * scales.s,
            "velocity_u": kinetics.scaling
            * (transcription_rate(kinetics, time, shares) - kinetics.beta * u)
            * scales.u,
            "observed_velocity": (kinetics.beta * observed_u / kinetics.scaling - kinetics.gamma * observed_s)
            * scales.s,
        }

    blocks = []
    for first in range(0, len(spliced), N_EVALUATED_AT_ONCE):
        rows = slice(first, first + N_EVALUATED_AT_ONCE)
        inputs = (np.log1p(np.hstack([spliced[rows], unspliced[rows]])) - scales.center) / scales.width
        observed = unspliced[rows] / scales.u, spliced[rows] / scales.s
        values = evaluate_block(*(values.astype(np.float32) for values in (inputs, *observed)))
        blocks.append({name: np.asarray(value) for name, value in values.items()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def gene_columns(params, scales, values, unspliced, spliced):
    """Return columns of the genes in scVelo's conventions, for the curve from which most of a gene's RNA comes.

    Parameters
    ----------
    params : dict
        Parameters of the encoder and of the genes.
    scales : Scales
        Scales of the moments.
    values : dict of str to ndarray
        Result of `evaluate`.
    unspliced, spliced : ndarray, shape (n_cells, n_genes)
        Moments.

    Returns
    -------
    dict of str to ndarray, shape (n_genes,)
        Columns `fit_*`, and `on`, the time at which the curve switches the gene on.
    """
    kinetics = Kinetics(*(np.asarray(parameter, np.float64) for parameter in kinetics_of(params["genes"])))
    curve = np.argmax(kinetics.alpha * values["shares"].mean(axis=0)[:, None], axis=0)
    genes = np.arange(len(curve))
    alpha, on, off = (rate[curve, genes] for rate in (kinetics.alpha, kinetics.on, kinetics.off))
    scaling = kinetics.scaling * scales.u / scales.s
    distance_u, distance_s = (values["u"] - unspliced) / scales.u, (values["s"] - spliced) / scales.s
    return {
        "fit_alpha": alpha * scales.s,
        "fit_beta": kinetics.beta / scaling,
        "fit_gamma": kinetics.gamma,
        # a gene that is switched off after the end of the process is on until the end
        "fit_t_": np.maximum(np.minimum(off, DURATION) - on, 0.0),
        "fit_scaling": scaling,
        "fit_u0": kinetics.scaling * kinetics.basal / kinetics.beta * scales.u,
        "fit_s0": kinetics.basal / kinetics.gamma * scales.s,
        "fit_likelihood": likelihood(distance_u, distance_s),
        "fit_r2": 1.0 - np.maximum(np.mean(distance_u**2, axis=0), np.mean(distance_s**2, axis=0)),
        "on": on,
    }


def shrink_velocity(fitted, observed):
    """Return velocities between those on the curves and those of the moments, by the weight of each gene's curve.

    The weight is the square of the correlation between the two velocities, and 0 where it is negative. A curve can fit
    cells well whose kinetics are not those of the model. Its slope then differs from that of the moments, and gets a
    small weight.

    Parameters
    ----------
    fitted, observed : ndarray, shape (n_cells, n_genes)
        Velocity on the curves, and of the moments.

    Returns
    -------
    curve_weight : ndarray, shape (n_genes,)
        Weight of the velocity on the curve.
    velocity : ndarray, shape (n_cells, n_genes)
        Weighted mean of the two velocities.
    """
    centered = [values - values.mean(axis=0) for values in (fitted, observed)]
    correlation = np.asarray(cosine(centered[0].T, centered[1].T))
    curve_weight = np.maximum(correlation, 0.0) ** 2
    return curve_weight, curve_weight * fitted + (1.0 - curve_weight) * observed


def likelihood(distance_u, distance_s):
    """Return the likelihood of each gene (Bergen et al. 2020), by distances to the curve in standard deviations."""
    squared = distance_u**2 + distance_s**2
    variance = squared.mean(axis=0) - np.mean(np.sign(distance_s) * np.sqrt(squared), axis=0) ** 2
    variance = np.maximum(variance, 1e-9)
    return np.exp(-0.5 * squared.mean(axis=0) / variance) / np.sqrt(2 * np.pi * variance)


def save(folder, params, scales, genes):
    """Write a trained model to `model.npz`."""
    arrays = {f"{part}/{name}": values for part, members in params.items() for name, values in members.items()}
    arrays |= {f"scales/{name}": values for name, values in scales._asdict().items()}
    np.savez(folder / "model.npz", names=np.asarray(genes, dtype=str), **arrays)


def load(folder):
    """Return a model that `save` wrote, as `evaluate` takes it.

    Parameters
    ----------
    folder : Path
        Folder of the model.

    Returns
    -------
    params : dict
        Parameters of the encoder and of the genes.
    scales : Scales
        Scales of the moments.
    genes : ndarray of str, shape (n_genes,)
        Names of the genes.
    """
    parts = {"encoder": {}, "genes": {}, "scales": {}}
    with np.load(folder / "model.npz") as file:
        for name in set(file.files) - {"names"}:
            part, member = name.split("/")
            parts[part][member] = file[name]
        genes = file["names"]
    scales = Scales(**parts.pop("scales"))
    return jax.tree.map(jnp.asarray, parts), scales, genes
