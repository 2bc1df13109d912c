"""Differentiable velocity: an encoder that tells the time of a cell, trained through the splicing equations.

What DiffBio's DifferentiableVelocity sets out to do.  There the time of a cell enters neither the velocity nor the
loss, and stays as the untrained encoder had it.  Here abundances are functions of it: all parameters have gradients.

An encoder, a network on the moments of a cell, returns its time t in (0, `DURATION`), one for all genes, and its shares
w_k in a few courses, which sum to 1.  In course k transcription is alpha_k above a basal rate from on_k to off_k:

    u(t) = basal / beta  + sum_k w_k alpha_k (r_u(t - on_k) - r_u(t - off_k)),
    s(t) = basal / gamma + sum_k w_k alpha_k (r_s(t - on_k) - r_s(t - off_k)),

where r is the response to transcription that is switched on (`step_response`), in closed form (La Manno et al. 2018).
The equations are linear: a mixture of courses solves them, too, so that fates may branch off a common past.  What the
shares change while a cell moves is not in its velocity.

Arrays of the model are n_cells x n_genes; spliced and unspliced abundance in standard deviations of the gene, s and u.
"""

import logging
import os
from typing import NamedTuple

# sums over several threads depend on their number; JAX asks for it when it is imported
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

# of the process, as scVelo has it: about the half-life of an RNA, times eight
DURATION = 20.0
# What is known before the data: medians and standard deviations of the logarithms.  The ratio is hardly told by the
# shape of a curve, as the scaling of unspliced counts is free; gamma is, by the time that all genes share.
RATIO, RATIO_LOG_SD = 0.5, 0.3
GAMMA, GAMMA_LOG_SD = 0.4, 0.7
# a residual is compared with at least this part of a gene's standard deviation: no gene decides the time alone
LEAST_SD = 0.1
# degrees of freedom of Student's t: outliers pull less than under a normal distribution
FREEDOM = 5.0
# of the times in a batch against even ones: keeps a clock from standing still where no gene moves
EVENNESS = 1.0
# transcription that was switched on so long before the process has reached its steady state
LONG_AGO = -2.0 * DURATION

# steps between two looks at the cells that are held out
STEPS = 50
# steps that each start is given
START_STEPS = 150
HELD_OUT = 0.1
# steps of the encoder alone, towards the start, and their rate
WARM_UP, WARM_UP_RATE = 300, 0.003
# the encoder's part of the learning rate
ENCODER_RATE = 0.2
# cells that the kinetics of a start are taken from, and cells that are evaluated at once
START_CELLS = 2000
AT_ONCE = 1024


class Cells(NamedTuple):
    """Cells as the model sees them: float32.

    inputs : (n_cells, 2 n_genes), log1p of both moments, standardised.   u, s : (n_cells, n_genes).
    indptr, indices : neighbours of each cell, as in a CSR matrix.
    """

    inputs: object
    u: object
    s: object
    indptr: object
    indices: object


class Scales(NamedTuple):
    """What turns moments into `Cells`: standard deviations (n_genes,); centre and width of inputs (2 n_genes,)."""

    u: np.ndarray
    s: np.ndarray
    centre: np.ndarray
    width: np.ndarray


class Kinetics(NamedTuple):
    """Rates per unit of time, (n_genes,); alpha and the two switching times (n_courses, n_genes).

    scaling : u that is seen of one unit of u in the equations.
    """

    beta: object
    gamma: object
    scaling: object
    basal: object
    alpha: object
    on: object
    off: object


class Training(NamedTuple):
    """State of a training: parameters, the optimizer's state, a look at the loss every `STEPS`, and the best so far."""

    params: dict
    state: object
    history: list
    best: dict
    last_gain: int


class Start(NamedTuple):
    """Where training starts: times (n_cells,), shares (n_cells, n_courses), and the parameters of the genes."""

    time: np.ndarray
    shares: np.ndarray
    genes: dict


def fit(
    cells,
    *,
    folder,
    random_state=0,
    n_courses=3,
    velocity="supported",
    reconstruction_weight=1.0,
    consistency_weight=1.0,
    n_hidden=64,
    n_steps=1000,
    batch_size=512,
    learning_rate=0.01,
    patience=10,
    min_r2=0.3,
):
    """Train the model on cells, save it in a folder, and return what run_model takes; options are in the schema.

    Fitted are the genes that vary in both layers.  Columns fit_* are of the course that most of a gene's RNA is from;
    the layer fit_t is the time since it switched the gene on, negative before.
    """
    spliced, unspliced = cells.layers["Ms"], cells.layers["Mu"]
    varies = (spliced.std(axis=0) > 0) & (unspliced.std(axis=0) > 0)
    if not varies.any() or len(spliced) < 10:
        raise ValueError(f"{varies.sum()} genes vary in both layers of {len(spliced)} cells; 1 and 10 are the least")
    spliced, unspliced = spliced[:, varies], unspliced[:, varies]
    scales = scales_of(unspliced, spliced)
    distances = sparse.csr_matrix(cells.obsp["distances"])
    data = as_cells(unspliced, spliced, scales, distances)
    n_neighbors = distances.nnz / len(spliced)

    rng = np.random.default_rng(random_state)
    repeats = (1 + n_neighbors) / len(spliced)
    starts = {}
    for name, start in starts_of(data, rng, n_courses=n_courses, repeats=repeats).items():
        encoder = initial_encoder(rng, data.inputs.shape[1], n_hidden=n_hidden, n_courses=n_courses)
        encoder = warmed_up(encoder, data, start, rng, batch_size=batch_size)
        starts[name] = {"encoder": encoder, "genes": start.genes}
    params, history = train(
        starts,
        data,
        rng,
        weights={"reconstruction": reconstruction_weight, "consistency": consistency_weight},
        repeats=repeats,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
    )
    save(folder, params, scales, cells.var_names[varies])
    found = evaluate(params, scales, unspliced, spliced)
    if not np.isfinite(found["velocity"]).all():
        raise RuntimeError("the training left the finite numbers: try a learning_rate that is ten times smaller")
    columns = gene_columns(params, scales, found, unspliced, spliced)
    columns["fit_support"], found["supported_velocity"] = supported(found["velocity"], found["observed_velocity"])
    return {
        "genes": np.asarray(cells.var_names[varies]),
        "layers": {
            "velocity": found["velocity" if velocity == "fitted" else f"{velocity}_velocity"],
            "velocity_u": found["velocity_u"],
            "fit_t": found["time"][:, None] - columns.pop("on"),
        },
        "var": {**columns, "velocity_genes": columns["fit_r2"] > min_r2},
        "obs": {"time": found["time"]},
        "obsm": {"shares": found["shares"]},
        "history": history,
    }


# The model


def step_response(tau, beta, gamma):
    """(u, s) at `tau` after transcription at rate 1 was switched on, from nothing; nothing before.

    u = (1 - e^(-beta tau)) / beta,   s = (1 - e^(-gamma tau)) / gamma + q,
    q = (e^(-gamma tau) - e^(-beta tau)) / (gamma - beta), by its series where the rates are close.
    """
    tau = jnp.maximum(tau, 0.0)
    left_u, left_s = jnp.exp(-beta * tau), jnp.exp(-gamma * tau)
    gap = gamma - beta
    half = 0.5 * gap * tau
    near = jnp.abs(half) < 0.25
    # both sides of `where` are differentiated: that which is not taken has to be finite
    apart = (left_s - left_u) / jnp.where(near, 1.0, gap)
    # sinh(half) / half at the mean of the rates, of which the next term is 5e-8
    square = jnp.where(near, half, 0.0) ** 2
    series = 1.0 + square / 6 * (1.0 + square / 20)
    close = -tau * jnp.exp(-0.5 * (beta + gamma) * tau) * series
    quotient = jnp.where(near, close, apart)
    return (1.0 - left_u) / beta, (1.0 - left_s) / gamma + quotient


def kinetics_of(genes):
    """`Kinetics` of the parameters of genes, which are any real numbers."""
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
    """(u, s) of the equations, without the scaling of u.   time : (n_cells,).   shares : (n_cells, n_courses)."""
    u, s = kinetics.basal / kinetics.beta, kinetics.basal / kinetics.gamma
    for alpha, on, off, share in zip(kinetics.alpha, kinetics.on, kinetics.off, shares.T, strict=True):
        switched_on = step_response(time[:, None] - on, kinetics.beta, kinetics.gamma)
        switched_off = step_response(time[:, None] - off, kinetics.beta, kinetics.gamma)
        u = u + share[:, None] * alpha * (switched_on[0] - switched_off[0])
        s = s + share[:, None] * alpha * (switched_on[1] - switched_off[1])
    return u, s


def transcription(kinetics, time, shares):
    """Rate of transcription of each gene in each cell."""
    rate = kinetics.basal
    for alpha, on, off, share in zip(kinetics.alpha, kinetics.on, kinetics.off, shares.T, strict=True):
        rate = rate + share[:, None] * alpha * ((time[:, None] > on) & (time[:, None] <= off))
    return rate


def encode(encoder, inputs):
    """Times (n_cells,) and shares (n_cells, n_courses)."""
    hidden = jax.nn.gelu(inputs @ encoder["weights_1"] + encoder["bias_1"])
    hidden = jax.nn.gelu(hidden @ encoder["weights_2"] + encoder["bias_2"])
    hidden = jax.nn.standardize(hidden, axis=1) * encoder["gain"] + encoder["offset"]
    out = hidden @ encoder["weights_3"] + encoder["bias_3"]
    return DURATION * jax.nn.sigmoid(out[:, 0]), jax.nn.softmax(out[:, 1:], axis=1)


def initial_encoder(rng, n_inputs, *, n_hidden, n_courses):
    """Random weights of the encoder, which keep the variance from layer to layer."""

    def weights(n_in, n_out):
        return jnp.asarray(rng.normal(0, n_in**-0.5, (n_in, n_out)), jnp.float32)

    return {
        "weights_1": weights(n_inputs, n_hidden),
        "bias_1": jnp.zeros(n_hidden),
        "weights_2": weights(n_hidden, n_hidden),
        "bias_2": jnp.zeros(n_hidden),
        "gain": jnp.ones(n_hidden),
        "offset": jnp.zeros(n_hidden),
        "weights_3": weights(n_hidden, 1 + n_courses),
        "bias_3": jnp.zeros(1 + n_courses),
    }


# The loss


def loss_parts(params, batch, *, repeats):
    """Parts of the loss, each a number by its name.

    batch : (inputs, u, s); the second half of the cells are neighbours of the first.
    repeats : so many cells as share counts, over all cells: the weight of a prior against the mean over cells.

    reconstruction : of u and s, as minus the log-likelihood of Student's t, whose width is a parameter of the gene.
    consistency : 1 - tanh(t_j - t_i) cos(s_j - s_i, v_i + v_j), where v = beta u - gamma s of the observed moments.
    """
    inputs, u, s = batch
    genes = params["genes"]
    kinetics = kinetics_of(genes)
    time, shares = encode(params["encoder"], inputs)
    fitted_u, fitted_s = abundances(kinetics, time, shares)
    missed = misfit(u - kinetics.scaling * fitted_u, genes["log_sd_u"]) + misfit(s - fitted_s, genes["log_sd_s"])
    velocity = kinetics.beta * u / kinetics.scaling - kinetics.gamma * s
    here, there = jnp.split(jnp.arange(len(time)), 2)
    agreement = jnp.tanh(time[there] - time[here]) * cosine(s[there] - s[here], velocity[here] + velocity[there])
    rank = (jnp.arange(len(time)) + 0.5) / len(time)
    return {
        "reconstruction": jnp.mean(missed),
        "consistency": jnp.mean(1.0 - agreement),
        "prior": repeats * jnp.mean(minus_log_prior(genes["log_beta"], genes["log_gamma"])),
        "evenness": EVENNESS * jnp.mean((jnp.sort(time) / DURATION - rank) ** 2),
    }


def misfit(residual, log_sd):
    """Minus the log-likelihood of Student's t, up to a constant."""
    sd = LEAST_SD + jnp.exp(log_sd)
    return jnp.log(sd) + 0.5 * (FREEDOM + 1) * jnp.log(1.0 + (residual / sd) ** 2 / FREEDOM)


def minus_log_prior(log_beta, log_gamma):
    """Of the rates, up to a constant."""
    ratio = (log_gamma - log_beta - np.log(RATIO)) / RATIO_LOG_SD
    return 0.5 * (ratio**2 + ((log_gamma - np.log(GAMMA)) / GAMMA_LOG_SD) ** 2)


def cosine(first, second):
    """Of the rows of two matrices; 0 where one is 0."""
    norms = jnp.sum(first**2, axis=1) * jnp.sum(second**2, axis=1)
    return jnp.sum(first * second, axis=1) / jnp.sqrt(norms + 1e-12)


# The starts: orders of the cells, with the kinetics that suit them best


def starts_of(data, rng, *, n_courses, repeats):
    """`Start` by name, for three orders of the cells; training tells which is right (`train`).

    They are a potential, whose differences between neighbours are as near as possible to the cosines of the
    steady-state velocity, and the first principal component in both directions.
    """
    some = np.sort(rng.permutation(len(data.s))[:START_CELLS])
    places = principal_components(np.asarray(data.s), some)
    orders = {"potential": potential(data), "component": places[:, 0], "component, reversed": -places[:, 0]}
    starts = {}
    for name, order in orders.items():
        time = even_times(order)
        shares = initial_shares(rng, places, time, n_courses)
        genes = kinetics_at(data.u[some], data.s[some], time[some], shares[some], repeats=repeats)
        starts[name] = Start(time, shares, genes)
    return starts


def principal_components(s, some):
    """Places of all cells on the first ten components of some of them."""
    centre = s[some].mean(axis=0)
    return (s - centre) @ np.linalg.svd(s[some] - centre, full_matrices=False)[2][:10].T


def potential(data):
    """Values (n_cells,) whose differences between neighbours come near to cosines of the steady-state velocity.

    Least squares on the graph, where a cell without velocity goes with its neighbours.
    """
    here = np.repeat(np.arange(len(data.s)), np.diff(data.indptr))
    there = np.asarray(data.indices)
    velocity = steady_state_velocity(np.asarray(data.u), np.asarray(data.s))
    s = np.asarray(data.s)
    blocks = np.array_split(np.arange(len(here)), len(here) // 10_000 + 1)
    cosines = [np.asarray(cosine(s[there[k]] - s[here[k]], velocity[here[k]])) for k in blocks]
    edges = np.arange(len(here))
    difference = sparse.csr_matrix((np.ones(len(edges)), (edges, there)), shape=(len(edges), len(s)))
    difference = difference - sparse.csr_matrix((np.ones(len(edges)), (edges, here)), shape=difference.shape)
    # a little of the identity: the potential is defined up to a constant in each connected part
    laplacian = difference.T @ difference + 1e-3 * sparse.eye(len(s))
    return cg(laplacian, difference.T @ np.concatenate(cosines), rtol=1e-4)[0]


def steady_state_velocity(u, s):
    """u minus the line through the most expressed twentieth of the cells (La Manno et al. 2018)."""
    expressed = u / u.max(axis=0) + s / s.max(axis=0)
    extreme = expressed >= np.percentile(expressed, 95, axis=0)
    slope = np.sum(extreme * u * s, axis=0) / np.maximum(np.sum(extreme * s**2, axis=0), 1e-9)
    return u - slope * s


def even_times(order):
    """Times (n_cells,) spread evenly over the process in this order."""
    ranks = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    return (DURATION * (ranks + 0.5) / len(order)).astype(np.float32)


def initial_shares(rng, places, time, n_courses):
    """Shares (n_cells, n_courses): soft clusters of what time, in a polynomial, does not explain of the places."""
    basis = np.polynomial.legendre.legvander(2 * time / DURATION - 1, 4)
    aside = places - basis @ np.linalg.lstsq(basis, places, rcond=None)[0]
    _, cluster = kmeans2(aside, n_courses, minit="++", seed=rng)
    return (0.7 * np.eye(n_courses)[cluster] + 0.3 / n_courses).astype(np.float32)


def kinetics_at(u, s, time, shares, *, repeats):
    """Parameters of the genes that explain most at given times.

    Of each gene all pairs of rates on a grid are tried, with all pairs of switching times in each course; amplitudes
    are then linear, and found by least squares, each course for itself.
    """
    u, s = np.asarray(u), np.asarray(s)
    edges = np.arange(0.0, DURATION, 1.5)
    pairs = [(on, off) for on in [LONG_AGO, *edges] for off in [*edges, 2 * DURATION] if off > on]
    on, off = np.array(pairs, dtype=np.float32).T
    best, kept = np.full(u.shape[1], -np.inf), {}
    for log_gamma in np.log(GAMMA) + np.array([-1.2, -0.6, 0.0, 0.6, 1.2]):
        for log_beta in log_gamma - np.log(RATIO) + np.array([-0.4, 0.0, 0.4]):
            rates = np.exp(log_beta), np.exp(log_gamma)
            begun, ended = (step_response(time[:, None] - switch, *rates) for switch in (on, off))
            shapes = [np.asarray(first - second) for first, second in zip(begun, ended, strict=True)]
            chosen, gain, *amounts = best_switches(shapes, (u, s), shares)
            gain = gain / len(u) - repeats * minus_log_prior(log_beta, log_gamma)
            found = {"log_beta": np.full_like(gain, log_beta), "log_gamma": np.full_like(gain, log_gamma)}
            found |= {"on": on[chosen], "off": off[chosen], "amount_u": amounts[0], "amount_s": amounts[1]}
            better = gain > best
            kept = {name: np.where(better, values, kept.get(name, values)) for name, values in found.items()}
            best = np.maximum(best, gain)
    return as_parameters(kept)


def best_switches(shapes, observed, shares):
    """The pair of switching times of each course, (n_courses, n_genes), that explains most of each gene.

    shapes : abundances of u and of s at alpha = 1, (n_cells, n_pairs) each.   observed : u and s.
    Returns indices of pairs, the sum of squares explained (n_genes,), and amplitudes of u and of s.
    """
    genes = np.arange(observed[0].shape[1])
    chosen, gain, amounts = [], 0.0, []
    for share in shares.T:
        along = [(share[:, None] * shape).T @ values for shape, values in zip(shapes, observed, strict=True)]
        squares = [np.sum(share[:, None] * shape**2, axis=0)[:, None] + 1e-6 for shape in shapes]
        explained = along[0] ** 2 / squares[0] + along[1] ** 2 / squares[1]
        pair = explained.argmax(axis=0)
        chosen.append(pair)
        gain = gain + explained[pair, genes]
        amounts.append([(sums / square)[pair, genes] for sums, square in zip(along, squares, strict=True)])
    return np.array(chosen), gain, *np.array(amounts).transpose(1, 0, 2)


def as_parameters(kept):
    """Parameters of genes from switching times and amplitudes."""
    amount_u, amount_s = (np.maximum(kept[f"amount_{layer}"], 1e-3) for layer in "us")
    n_genes = amount_s.shape[1]
    parameters = {
        "log_beta": kept["log_beta"],
        "log_gamma": kept["log_gamma"],
        "log_scaling": np.log(amount_u.sum(axis=0) / amount_s.sum(axis=0)),
        # nearly nothing
        "basal": np.full(n_genes, -5.0),
        "alpha": softplus_inverse(amount_s),
        "on": kept["on"],
        "period": softplus_inverse(kept["off"] - kept["on"]),
        "log_sd_u": np.full(n_genes, np.log(0.5)),
        "log_sd_s": np.full(n_genes, np.log(0.5)),
    }
    return {name: jnp.asarray(values, jnp.float32) for name, values in parameters.items()}


def softplus_inverse(values):
    """Numbers of which softplus makes these."""
    return values + np.log(-np.expm1(-values))


# Training


def warmed_up(encoder, data, start, rng, *, batch_size):
    """The encoder, trained to return the times and shares of a start."""
    time, shares = jnp.asarray(start.time), jnp.asarray(start.shares)

    def loss(encoder, chosen):
        found, found_shares = encode(encoder, data.inputs[chosen])
        surprise = -jnp.sum(shares[chosen] * jnp.log(found_shares + 1e-6), axis=1)
        return jnp.mean(((found - time[chosen]) / DURATION) ** 2 + 0.05 * surprise)

    chosen = rng.integers(len(time), size=(WARM_UP, min(batch_size, len(time))))
    optimizer = optax.adam(WARM_UP_RATE)

    @jax.jit
    def run(encoder):
        def step(carried, chosen):
            encoder, state = carried
            updates, state = optimizer.update(jax.grad(loss)(encoder, chosen), state)
            return (optax.apply_updates(encoder, updates), state), None

        return jax.lax.scan(step, (encoder, optimizer.init(encoder)), chosen)[0][0]

    return run(encoder)


def train(starts, data, rng, *, weights, repeats, n_steps, batch_size, learning_rate, patience):
    """Parameters at the least loss on cells that were held out, and the training curve, a value every `STEPS` steps.

    Of the starts, parameters by name, each is trained for `START_STEPS`; the one that is then best goes on.  The
    equations tell the direction of time: unspliced RNA comes first.

    A step is taken on some cells and a neighbour of each.   weights : of the parts of the loss, 1 if not named.
    patience : looks at the cells held out without a gain after which training ends.
    """
    cells = rng.permutation(len(data.s))
    held_out, trained = np.split(cells, [max(2, int(HELD_OUT * len(cells)))])
    held_out = batch_of(data, pairs(rng, data, held_out))
    optimizer = optimizer_of(learning_rate, n_steps)

    def loss(params, batch):
        parts = loss_parts(params, batch, repeats=repeats)
        return sum(weights.get(name, 1.0) * part for name, part in parts.items()), parts

    @jax.jit
    def run(params, state, chosen):
        def step(carried, chosen):
            params, state = carried
            (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch_of(data, chosen))
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), {"loss": value, **parts}

        (params, state), curve = jax.lax.scan(step, (params, state), chosen)
        return (
            params,
            state,
            {name: values.mean() for name, values in curve.items()} | {"held_out": loss(params, held_out)[0]},
        )

    def train_on(training):
        chosen = rng.choice(trained, (STEPS, min(batch_size, len(trained))))
        params, state, curve = run(training.params, training.state, pairs(rng, data, chosen))
        history = [*training.history, {name: float(value) for name, value in curve.items()}]
        gained = history[-1]["held_out"] <= min(look["held_out"] for look in history)
        return Training(params, state, history, *((params, len(history)) if gained else training[3:]))

    trainings = {}
    for name, params in starts.items():
        training = Training(params, optimizer.init(params), [], params, 0)
        for _ in range(min(START_STEPS, n_steps) // STEPS):
            training = train_on(training)
        trainings[name] = training
        log.info("start %s: loss %.3f on cells held out", name, training.history[-1]["held_out"])
    training = min(trainings.values(), key=lambda training: training.history[-1]["held_out"])
    while len(training.history) < n_steps // STEPS and len(training.history) - training.last_gain < patience:
        training = train_on(training)
    history = training.history
    log.info("%d steps: loss %.3f on cells held out", len(history) * STEPS, history[training.last_gain - 1]["held_out"])
    return training.best, {name: [look[name] for look in history] for name in history[0]}


def optimizer_of(learning_rate, n_steps):
    """Adam with a rate that falls to 0 along a cosine; the encoder's is smaller than the genes'."""
    rate = optax.cosine_decay_schedule(learning_rate, n_steps)
    optimizers = {"genes": optax.adam(rate), "encoder": optax.adam(lambda count: ENCODER_RATE * rate(count))}
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(optimizers, {"genes": "genes", "encoder": "encoder"}),
    )


def pairs(rng, data, chosen):
    """Cells (..., 2 n): the chosen ones (..., n), then of each a neighbour by chance."""
    number = (rng.random(chosen.shape) * np.diff(data.indptr)[chosen]).astype(np.int64)
    return np.concatenate([chosen, data.indices[data.indptr[chosen] + number]], axis=-1)


def batch_of(data, chosen):
    """Inputs, u and s of some cells."""
    return data.inputs[chosen], data.u[chosen], data.s[chosen]


# Between moments and the model, and on disk


def scales_of(unspliced, spliced):
    """`Scales` of moments (n_cells, n_genes)."""
    inputs = np.log1p(np.hstack([spliced, unspliced]))
    return Scales(unspliced.std(axis=0), spliced.std(axis=0), inputs.mean(axis=0), inputs.std(axis=0))


def as_cells(unspliced, spliced, scales, distances):
    """`Cells` of moments (n_cells, n_genes) and a graph of neighbours."""
    if np.diff(distances.indptr).min() == 0:
        raise ValueError("a cell has no neighbours; prepare the data with n_neighbors of at least 2")
    inputs = (np.log1p(np.hstack([spliced, unspliced])) - scales.centre) / scales.width
    arrays = (jnp.asarray(values, jnp.float32) for values in (inputs, unspliced / scales.u, spliced / scales.s))
    return Cells(*arrays, distances.indptr, distances.indices)


def evaluate(params, scales, unspliced, spliced):
    """What the model says of moments (n_cells, n_genes): arrays by name, in their units and per unit of time.

    time : (n_cells,).   shares : (n_cells, n_courses).   u, s : abundances, n_cells x n_genes, as all that follows.
    velocity, velocity_u : ds/dt and du/dt on the curves.   observed_velocity : beta u - gamma s of the moments.
    """
    kinetics = kinetics_of(params["genes"])

    @jax.jit
    def of_some(inputs, observed_u, observed_s):
        time, shares = encode(params["encoder"], inputs)
        u, s = abundances(kinetics, time, shares)
        return {
            "time": time,
            "shares": shares,
            "u": kinetics.scaling * u * scales.u,
            "s": s * scales.s,
            "velocity": (kinetics.beta * u - kinetics.gamma * s) * scales.s,
            "velocity_u": kinetics.scaling * (transcription(kinetics, time, shares) - kinetics.beta * u) * scales.u,
            "observed_velocity": (kinetics.beta * observed_u / kinetics.scaling - kinetics.gamma * observed_s)
            * scales.s,
        }

    found = []
    for first in range(0, len(spliced), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        inputs = (np.log1p(np.hstack([spliced[some], unspliced[some]])) - scales.centre) / scales.width
        observed = unspliced[some] / scales.u, spliced[some] / scales.s
        values = of_some(*(values.astype(np.float32) for values in (inputs, *observed)))
        found.append({name: np.asarray(value) for name, value in values.items()})
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def gene_columns(params, scales, found, unspliced, spliced):
    """Columns (n_genes,) in scVelo's conventions, of the course that most of a gene's RNA is from; `on`: its switch."""
    kinetics = Kinetics(*(np.asarray(values, np.float64) for values in kinetics_of(params["genes"])))
    course = np.argmax(kinetics.alpha * found["shares"].mean(axis=0)[:, None], axis=0)
    genes = np.arange(len(course))
    alpha, on, off = (values[course, genes] for values in (kinetics.alpha, kinetics.on, kinetics.off))
    scaling = kinetics.scaling * scales.u / scales.s
    distance_u, distance_s = (found["u"] - unspliced) / scales.u, (found["s"] - spliced) / scales.s
    return {
        "fit_alpha": alpha * scales.s,
        "fit_beta": kinetics.beta / scaling,
        "fit_gamma": kinetics.gamma,
        # what is switched off after the end is on until then
        "fit_t_": np.maximum(np.minimum(off, DURATION) - on, 0.0),
        "fit_scaling": scaling,
        "fit_u0": kinetics.scaling * kinetics.basal / kinetics.beta * scales.u,
        "fit_s0": kinetics.basal / kinetics.gamma * scales.s,
        "fit_likelihood": likelihood(distance_u, distance_s),
        "fit_r2": 1.0 - np.maximum(np.mean(distance_u**2, axis=0), np.mean(distance_s**2, axis=0)),
        "on": on,
    }


def supported(fitted, observed):
    """Support of each gene's curve, (n_genes,), and velocities that lie between the two given, by that.

    support : the square of the correlation between the velocities on the curve and of the moments, 0 where it is
    negative.  A curve may fit whatever it likes where the kinetics are not those of the model; its slope then is not
    that of the moments, and is not believed.
    """
    centred = [values - values.mean(axis=0) for values in (fitted, observed)]
    correlation = np.asarray(cosine(centred[0].T, centred[1].T))
    support = np.maximum(correlation, 0.0) ** 2
    return support, support * fitted + (1.0 - support) * observed


def likelihood(distance_u, distance_s):
    """Likelihood of each gene as Bergen et al. (2020) have it, from distances to the curve in standard deviations."""
    squared = distance_u**2 + distance_s**2
    variance = squared.mean(axis=0) - np.mean(np.sign(distance_s) * np.sqrt(squared), axis=0) ** 2
    variance = np.maximum(variance, 1e-9)
    return np.exp(-0.5 * squared.mean(axis=0) / variance) / np.sqrt(2 * np.pi * variance)


def save(folder, params, scales, genes):
    """Write a trained model, `model.npz`."""
    arrays = {f"{part}/{name}": values for part, members in params.items() for name, values in members.items()}
    arrays |= {f"scales/{name}": values for name, values in scales._asdict().items()}
    np.savez(folder / "model.npz", names=np.asarray(genes, dtype=str), **arrays)


def load(folder):
    """Parameters, `Scales` and names of genes of a model that `save` wrote: what `evaluate` takes."""
    parts = {"encoder": {}, "genes": {}, "scales": {}}
    with np.load(folder / "model.npz") as file:
        for name in set(file.files) - {"names"}:
            part, member = name.split("/")
            parts[part][member] = file[name]
        genes = file["names"]
    scales = Scales(**parts.pop("scales"))
    return jax.tree.map(jnp.asarray, parts), scales, genes
