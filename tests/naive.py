"""Slow and obvious twins of the kernels: plain loops over cells, double precision, nothing clever."""

import numpy as np


def signed_sqrt(x):
    return np.sign(x) * np.sqrt(np.abs(x))


def pearson(a, b):
    """Correlation of two vectors; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norms = np.sqrt((a**2).sum() * (b**2).sum())
    return (a * b).sum() / norms if norms > 0 else 0.0


def neighbors_of_neighbors(distances, cell):
    """Set of the neighbours of a cell and of their neighbours, without the cell itself."""
    first = {int(j) for j in distances[[cell]].indices}
    second = {int(k) for j in first for k in distances[[j]].indices}
    return (first | second) - {cell}


def velocity_graph(spliced_moments, velocity, distances, *, sqrt_transform=False):
    """Dense (n_cells, n_cells) correlations of the velocities with the ways to neighbours' neighbours."""
    x, v = spliced_moments.astype(float), velocity.astype(float)
    transform = signed_sqrt if sqrt_transform else (lambda change: change)
    graph = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in neighbors_of_neighbors(distances, i):
            graph[i, j] = pearson(transform(x[j] - x[i]), transform(v[i]))
    return graph


def project(transition, embedding):
    """Displacements (n_cells, n_dims) by a dense transition matrix, not scaled."""
    arrows = np.zeros(embedding.shape)
    for i in range(len(embedding)):
        others = [j for j in range(len(embedding)) if j != i and transition[i, j] != 0]
        ways = [embedding[j] - embedding[i] for j in others]
        ways = [way / np.linalg.norm(way) if np.linalg.norm(way) > 0 else way for way in ways]
        if others:
            mean = np.mean([transition[i, j] for j in others])
            arrows[i] = sum((transition[i, j] - mean) * way for j, way in zip(others, ways, strict=True))
    return arrows


def confidence_and_length(velocity, distances):
    """Mean correlation with the velocities of the neighbours, at least 0, and norms after centring."""
    v = velocity.astype(float)
    neighbors = [distances[[i]].indices for i in range(len(v))]
    confidence = [max(0.0, np.mean([pearson(v[i], v[j]) for j in neighbors[i]])) for i in range(len(v))]
    return np.array(confidence), np.array([np.linalg.norm(row - row.mean()) for row in v])


def stationary_distribution(transition, n_steps=20000):
    """Where a walk (dense, rows sum to one) is after many steps from anywhere."""
    cells = np.full(len(transition), 1 / len(transition))
    for _ in range(n_steps):
        cells = cells @ transition
    return cells


def diffusion_distances(graph, origin, n_components=10):
    """Diffusion pseudotime from one cell by the eigenvectors of a dense graph, not scaled."""
    kernel = np.abs(graph) + np.abs(graph).T
    kernel = kernel / np.outer(kernel.sum(axis=0), kernel.sum(axis=0))
    kernel = kernel / np.sqrt(np.outer(kernel.sum(axis=0), kernel.sum(axis=0)))
    eigenvalues, vectors = np.linalg.eigh(kernel)
    by_size = np.argsort(eigenvalues)[::-1][1:n_components]
    squares = sum((eigenvalues[k] / (1 - eigenvalues[k]) * (vectors[:, k] - vectors[origin, k])) ** 2 for k in by_size)
    return np.sqrt(squares)


def rooted_clock(times, root):
    """One gene's times (n_cells,) counted from the root cell on; what was before it comes after the end."""
    return np.array([t - times[root] if t >= times[root] else t - times[root] + times.max() for t in times])


def shared_time(clocks, root):
    """Sum of the two most even of five percentiles over the rooted clocks (n_genes, n_cells), at most 1."""
    rooted = np.array([rooted_clock(gene.astype(float), root) for gene in clocks])
    candidates = [np.percentile(rooted, p, axis=0) for p in (15, 20, 25, 30, 35)]
    candidates = [c / c.max() if c.max() > 0 else c for c in candidates]
    even = np.linspace(0, 1, clocks.shape[1])
    best = sorted(candidates, key=lambda c: ((np.sort(c) - even) ** 2).sum())[:2]
    return (best[0] + best[1]) / (best[0] + best[1]).max()


def limited_gaps(tau_on, tau_off, induced):
    """Times on both branches after gaps of more than three times the 99.5th percentile of all were closed."""
    branches = [np.sort(tau_on[induced]), np.sort(tau_off[~induced])]
    gaps = [np.diff(times, prepend=0.0) for times in branches]
    limit = 3 * np.percentile(np.concatenate(gaps), 99.5)
    limited = []
    for own_times, times, own_gaps, on_branch in zip(
        (tau_on, tau_off), branches, gaps, (induced, ~induced), strict=True
    ):
        ends, wide = times[own_gaps > limit], own_gaps[own_gaps > limit]
        closed = [sum(gap for end, gap in zip(ends, wide, strict=True) if end <= tau) for tau in own_times]
        limited.append(np.where(on_branch, own_times - closed, own_times))
    return limited


def curve(tau, u0, s0, alpha, beta, gamma):
    """(u, s) a time after (u0, s0), term by term as in La Manno et al. (2018); gamma other than beta."""
    off_u, off_s = np.exp(-beta * tau), np.exp(-gamma * tau)
    u = u0 * off_u + alpha / beta * (1 - off_u)
    s = s0 * off_s + alpha / gamma * (1 - off_s) + (alpha - beta * u0) / (gamma - beta) * (off_s - off_u)
    return u, s


def assigned_times(unspliced, spliced, std_u, std_s, weights, parameters, *, projected):
    """Time and branch of each cell of a gene, with dense matrices (cells x cells, cells x nodes of the curve)."""
    alpha, beta, gamma, switching_time, scaling = parameters
    around = (weights > 0).astype(float)
    u, s = unspliced / scaling, spliced
    u_switch, s_switch = curve(switching_time, 0.0, 0.0, alpha, beta, gamma)

    def inverted(u0, s0, alpha):
        if gamma >= beta:
            ratio, rate = (u - alpha / beta) / (u0 - alpha / beta), beta
        else:
            weight = beta / (gamma - beta)
            at_rest = alpha / gamma - weight * alpha / beta
            ratio, rate = (s - weight * u - at_rest) / (s0 - weight * u0 - at_rest), gamma
        return -np.log(np.clip(ratio, 1e-6, 1 - 1e-6)) / rate

    if projected and beta < gamma:
        n_nodes = int(np.clip(len(u) / 5, 200, 500))
        times_on = np.linspace(0, switching_time, n_nodes)
        lowest = u[s > 0].min()
        times_off = np.linspace(0, -np.log(np.clip(lowest / u_switch, 1e-6, 1 - 1e-6)) / beta, n_nodes)[1:]
        curves = curve(times_on, 0, 0, alpha, beta, gamma), curve(times_off, u_switch, s_switch, 0, beta, gamma)
        nearest = [((u[:, None] - on_u) ** 2 + (s[:, None] - on_s) ** 2).argmin(axis=1) for on_u, on_s in curves]
        tau_on, tau_off = times_on[nearest[0]], times_off[nearest[1]]
    else:
        tau_on = np.clip(inverted(0.0, 0.0, alpha), 0, switching_time)
        tau_off = inverted(u_switch, s_switch, 0.0)
        tau_off = np.clip(tau_off, 0, tau_off[s > 0].max())

    def distance(at):
        return ((u - at[0]) * scaling / std_u) ** 2 + ((s - at[1]) / std_s) ** 2

    def distances():
        on = distance(curve(tau_on, 0, 0, alpha, beta, gamma))
        off = distance(curve(tau_off, u_switch, s_switch, 0, beta, gamma))
        return around @ off, around @ on

    off, on = distances()
    tau_on, tau_off = limited_gaps(tau_on, tau_off, on < off)
    off, on = distances()
    steady_off = around @ distance((0.0, 0.0))
    steady_on = around @ distance((alpha / beta, alpha / gamma))
    state = np.argmin([off, on, steady_off, steady_on], axis=0)
    time = np.choose(state, [tau_off + switching_time, tau_on, 0.0, switching_time])
    return time, (state == 1) | (state == 2)


def neighborhood_means(values, joined):
    """Means of the rows of `values` over each cell's neighborhood; `joined` is a bool matrix with a full diagonal."""
    return np.array([values[row].astype(float).mean(axis=0) for row in joined])


def steady_state_ratio(spliced, unspliced, percentile):
    """Slope through the origin of u on s in the cells of highest joint expression, for one gene.

    Which cells those are is decided in the precision of the moments: near ties fall as they do there.
    """
    joint = spliced / max(spliced.max(), 1e-3) + unspliced / max(unspliced.max(), 1e-3)
    extreme = [cell for cell in range(len(joint)) if joint[cell] >= np.percentile(joint, percentile)]
    s, u = spliced[extreme].astype(float), unspliced[extreme].astype(float)
    return sum(s * u) / sum(s**2)


def generalized_ratio(spliced, unspliced, second_ss, second_us, percentile):
    """Slope of the first- and second-moment equations of one gene, stacked and weighted row by row."""
    joint = spliced / max(spliced.max(), 1e-3) + unspliced / max(unspliced.max(), 1e-3)
    extreme = (joint >= np.percentile(joint, percentile)) | (spliced >= np.percentile(spliced, percentile))
    ratio = steady_state_ratio(spliced, unspliced, percentile)
    spliced, unspliced, second_ss, second_us = (x.astype(float) for x in (spliced, unspliced, second_ss, second_us))
    variance, covariance = 2 * second_ss - spliced, 2 * second_us + unspliced
    first_sd = np.std(unspliced - ratio * spliced)
    second_sd = np.std(covariance - (variance @ covariance) / (variance @ variance) * variance)
    x = np.concatenate([np.where(extreme, spliced, 0) / first_sd, variance / second_sd])
    y = np.concatenate([np.where(extreme, unspliced, 0) / first_sd, covariance / second_sd])
    return np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]


def nearest_on_lines(u, s, points):
    """Nearest to (u, s) of many points on the lines that join `points`, (n_points, 2)."""
    parts = np.linspace(0, 1, 2001)[:, None]
    dense = np.concatenate([a + parts * (b - a) for a, b in zip(points[:-1], points[1:], strict=True)])
    return dense[np.argmin(((dense - [u, s]) ** 2).sum(axis=1))]


def cluster_distance(unspliced, spliced, weights, own, ray):
    """Distance across a ray of the mean moments of some cells, and its variance if counts vary as their squares say.

    unspliced, spliced : (n_cells,) counts.   weights : dense (n_cells, n_cells), of the moments.   own : cells.
    """
    in_mean = weights[own].mean(axis=0)
    across = (ray[1] * unspliced - ray[0] * spliced) / np.hypot(*ray)
    return sum(in_mean * across), sum((in_mean * across) ** 2)


def kernel_width(control_points):
    """One over the square of sqrt(2) / 1.5 of the mean distance to a fifth of the other points, the nearest."""
    n_nearest = min(max(2, int(0.2 * len(control_points))) - 1, len(control_points) - 1)
    nearest = [sorted(np.linalg.norm(x - y) for y in control_points)[1 : n_nearest + 1] for x in control_points]
    return 1 / (np.sqrt(2) * np.mean(nearest) / 1.5) ** 2


def gaussian_kernel(places, control_points, width):
    return np.array([[np.exp(-width * ((x - y) ** 2).sum()) for y in control_points] for x in places])


def sparse_vector_field(places, arrows, control_points, *, regularization=3.0, volume=5.0, iterations=30, change=1e-5):
    """Coefficients, probabilities, variance and energies by EM (Ma et al. 2013), by normal equations."""
    n_cells, n_dims = arrows.shape
    width = kernel_width(control_points)
    between = gaussian_kernel(control_points, control_points, width)
    kernels = gaussian_kernel(places, control_points, width)
    coefficients, energies = np.zeros((len(control_points), n_dims)), []
    squares = (arrows**2).sum(axis=1)
    variance, share = squares.mean() / n_dims, 0.9
    for _ in range(iterations):
        gaussian = share * np.exp(-squares / (2 * variance)) / (2 * np.pi * variance) ** (n_dims / 2)
        probability = gaussian / (gaussian + (1 - share) / volume)
        energy = (probability * squares).sum() / (2 * variance) + probability.sum() * np.log(variance) * n_dims / 2
        energies.append(energy + regularization / 2 * np.trace(coefficients.T @ between @ coefficients))
        probability = np.maximum(probability, 1e-5)
        weighted = kernels.T * probability
        left = weighted @ kernels + regularization * variance * between
        coefficients = np.linalg.solve(left, weighted @ arrows)
        squares = ((arrows - kernels @ coefficients) ** 2).sum(axis=1)
        variance = (probability * squares).sum() / (n_dims * probability.sum())
        share = min(max(np.mean(probability > 0.75), 0.05), 0.95)
        if len(energies) > 1 and abs(energies[-1] - energies[-2]) <= change * abs(energies[-1]):
            break
    return coefficients, probability, variance, np.array(energies)


def perturbation_walk(places, vectors, distances, diffusion):
    """Dense probabilities of Dynamo 1.5.3's "fp" walk: flows between neighbours, their operator, its embedded chain."""
    n_cells = len(places)
    flow, joined = np.zeros((n_cells, n_cells)), np.zeros((n_cells, n_cells))
    for i, j in zip(*distances.nonzero(), strict=True):
        way = places[j] - places[i]
        length = np.linalg.norm(way)
        mean = np.mean([vectors[i] @ way, vectors[j] @ way]) / (length if length > 0 else 1)
        flow[i, j], flow[j, i] = signed_sqrt(mean), -signed_sqrt(mean)
        joined[i, j] = joined[j, i] = 1
    flow = (flow - flow.T) / 2
    drift, laplacian = np.maximum(flow, 0), np.diag(joined.sum(axis=1)) - joined
    rates = 0.5 * (drift - np.diag(drift.sum(axis=1))) - diffusion * laplacian
    np.fill_diagonal(rates, 0)
    return np.array([row / row.sum() if row.any() else row for row in rates])
