"""Reference implementations of the compiled functions: simple loops over cells in double precision."""

import numpy as np


def signed_sqrt(x):
    """Return the square root of the absolute value, with the sign of x."""
    return np.sign(x) * np.sqrt(np.abs(x))


def pearson(a, b):
    """Return the correlation of two vectors; 0 if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norms = np.sqrt((a**2).sum() * (b**2).sum())
    return (a * b).sum() / norms if norms > 0 else 0.0


def neighbors_of_neighbors(distances, cell):
    """Return the set of the neighbors of a cell and of their neighbors, without the cell itself."""
    first = {int(j) for j in distances[[cell]].indices}
    second = {int(k) for j in first for k in distances[[j]].indices}
    return (first | second) - {cell}


def velocity_graph(spliced_moments, velocity, distances, *, sqrt_transform=False):
    """Return the correlations of velocities with displacements to neighbors and their neighbors, (n_cells, n_cells)."""
    x, v = spliced_moments.astype(float), velocity.astype(float)
    transform = signed_sqrt if sqrt_transform else (lambda change: change)
    graph = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in neighbors_of_neighbors(distances, i):
            graph[i, j] = pearson(transform(x[j] - x[i]), transform(v[i]))
    return graph


def velocity_embedding(transition_matrix, embedding):
    """Return velocities (n_cells, n_dims) on an embedding by a dense transition matrix, not scaled."""
    velocities = np.zeros(embedding.shape)
    for i in range(len(embedding)):
        others = [j for j in range(len(embedding)) if j != i and transition_matrix[i, j] != 0]
        directions = [embedding[j] - embedding[i] for j in others]
        directions = [d / np.linalg.norm(d) if np.linalg.norm(d) > 0 else d for d in directions]
        if others:
            mean = np.mean([transition_matrix[i, j] for j in others])
            velocities[i] = sum((transition_matrix[i, j] - mean) * d for j, d in zip(others, directions, strict=True))
    return velocities


def confidence_and_length(velocity, distances):
    """Return the mean correlation with the velocities of the neighbors, at least 0, and the norms after centering."""
    v = velocity.astype(float)
    neighbors = [distances[[i]].indices for i in range(len(v))]
    confidence = [max(0.0, np.mean([pearson(v[i], v[j]) for j in neighbors[i]])) for i in range(len(v))]
    return np.array(confidence), np.array([np.linalg.norm(row - row.mean()) for row in v])


def stationary_distribution(transition_matrix, n_steps=20000):
    """Return the distribution over cells after many steps of a dense transition matrix from a uniform distribution."""
    distribution = np.full(len(transition_matrix), 1 / len(transition_matrix))
    for _ in range(n_steps):
        distribution = distribution @ transition_matrix
    return distribution


def diffusion_distances(graph, origin, n_components=10):
    """Return the diffusion pseudotime from one cell by the eigenvectors of a dense graph, not scaled."""
    kernel = np.abs(graph) + np.abs(graph).T
    kernel = kernel / np.outer(kernel.sum(axis=0), kernel.sum(axis=0))
    kernel = kernel / np.sqrt(np.outer(kernel.sum(axis=0), kernel.sum(axis=0)))
    eigenvalues, vectors = np.linalg.eigh(kernel)
    by_size = np.argsort(eigenvalues)[::-1][1:n_components]
    squares = sum((eigenvalues[k] / (1 - eigenvalues[k]) * (vectors[:, k] - vectors[origin, k])) ** 2 for k in by_size)
    return np.sqrt(squares)


def rooted_gene_time(times, root):
    """Return one gene's times (n_cells,) since that of the root cell; earlier times come after the last one."""
    return np.array([t - times[root] if t >= times[root] else t - times[root] + times.max() for t in times])


def shared_time(gene_times, root):
    """Return the sum of the two most even of five percentiles over the rooted gene times, scaled to a maximum of 1."""
    rooted = np.array([rooted_gene_time(times.astype(float), root) for times in gene_times])
    candidates = [np.percentile(rooted, p, axis=0) for p in (15, 20, 25, 30, 35)]
    candidates = [c / c.max() if c.max() > 0 else c for c in candidates]
    even = np.linspace(0, 1, gene_times.shape[1])
    best = sorted(candidates, key=lambda c: ((np.sort(c) - even) ** 2).sum())[:2]
    return (best[0] + best[1]) / (best[0] + best[1]).max()


def limited_gaps(tau_on, tau_off, induced):
    """Return times on both branches without gaps above three times the 99.5th percentile of all gaps."""
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
    """Return (u, s) at a time after (u0, s0), as in La Manno et al. (2018), for gamma different from beta."""
    decay_u, decay_s = np.exp(-beta * tau), np.exp(-gamma * tau)
    u = u0 * decay_u + alpha / beta * (1 - decay_u)
    s = s0 * decay_s + alpha / gamma * (1 - decay_s) + (alpha - beta * u0) / (gamma - beta) * (decay_s - decay_u)
    return u, s


def assigned_times(unspliced, spliced, std_u, std_s, weights, parameters, *, projected):
    """Return time and induction of each cell by dense matrices (cells x cells, cells x nodes of the curve)."""
    alpha, beta, gamma, switching_time, scaling = parameters
    is_neighbor = (weights > 0).astype(float)
    u, s = unspliced / scaling, spliced
    u_switch, s_switch = curve(switching_time, 0.0, 0.0, alpha, beta, gamma)

    def inverse_time(u0, s0, alpha):
        if gamma >= beta:
            ratio, rate = (u - alpha / beta) / (u0 - alpha / beta), beta
        else:
            weight = beta / (gamma - beta)
            limit = alpha / gamma - weight * alpha / beta
            ratio, rate = (s - weight * u - limit) / (s0 - weight * u0 - limit), gamma
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
        tau_on = np.clip(inverse_time(0.0, 0.0, alpha), 0, switching_time)
        tau_off = inverse_time(u_switch, s_switch, 0.0)
        tau_off = np.clip(tau_off, 0, tau_off[s > 0].max())

    def squared_distance(point):
        return ((u - point[0]) * scaling / std_u) ** 2 + ((s - point[1]) / std_s) ** 2

    def squared_distances():
        on = squared_distance(curve(tau_on, 0, 0, alpha, beta, gamma))
        off = squared_distance(curve(tau_off, u_switch, s_switch, 0, beta, gamma))
        return is_neighbor @ off, is_neighbor @ on

    off, on = squared_distances()
    tau_on, tau_off = limited_gaps(tau_on, tau_off, on < off)
    off, on = squared_distances()
    steady_off = is_neighbor @ squared_distance((0.0, 0.0))
    steady_on = is_neighbor @ squared_distance((alpha / beta, alpha / gamma))
    state = np.argmin([off, on, steady_off, steady_on], axis=0)
    time = np.choose(state, [tau_off + switching_time, tau_on, 0.0, switching_time])
    return time, (state == 1) | (state == 2)


def neighborhood_means(values, is_neighbor):
    """Return means of the rows of `values` over the neighborhood of each cell, bool (n_cells, n_cells)."""
    return np.array([values[row].astype(float).mean(axis=0) for row in is_neighbor])


def steady_state_ratio(spliced, unspliced, percentile):
    """Return the slope through the origin of u on s in the cells of highest joint expression, for one gene.

    These cells are selected in the precision of the moments, so that near ties are decided as in the library.
    """
    joint = spliced / max(spliced.max(), 1e-3) + unspliced / max(unspliced.max(), 1e-3)
    extreme = [cell for cell in range(len(joint)) if joint[cell] >= np.percentile(joint, percentile)]
    s, u = spliced[extreme].astype(float), unspliced[extreme].astype(float)
    return sum(s * u) / sum(s**2)


def generalized_ratio(spliced, unspliced, second_ss, second_us, percentile):
    """Return the slope of the first- and second-moment equations of one gene, stacked and weighted."""
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
    """Return the point nearest to (u, s) among 2,001 on each line segment between `points`, (n_points, 2)."""
    fractions = np.linspace(0, 1, 2001)[:, None]
    dense = np.concatenate([a + fractions * (b - a) for a, b in zip(points[:-1], points[1:], strict=True)])
    return dense[np.argmin(((dense - [u, s]) ** 2).sum(axis=1))]


def cluster_distance(unspliced, spliced, weights, own, ray):
    """Return the distance from a ray of the mean moments of some cells, and its variance by the squares of the counts.

    unspliced, spliced : (n_cells,) counts. weights : dense (n_cells, n_cells) averaging weights. own : bool (n_cells,).
    """
    weight_of_cell = weights[own].mean(axis=0)
    distances = (ray[1] * unspliced - ray[0] * spliced) / np.hypot(*ray)
    return sum(weight_of_cell * distances), sum((weight_of_cell * distances) ** 2)


def kernel_width(control_points):
    """Return 1 / (sqrt(2) / 1.5 d)^2, with the mean distance d to the nearest fifth of the other points."""
    n_nearest = min(max(2, int(0.2 * len(control_points))) - 1, len(control_points) - 1)
    nearest = [sorted(np.linalg.norm(x - y) for y in control_points)[1 : n_nearest + 1] for x in control_points]
    return 1 / (np.sqrt(2) * np.mean(nearest) / 1.5) ** 2


def gaussian_kernel(coordinates, control_points, width):
    """Return the kernel exp(-width |x - y|^2), (n_cells, n_control_points)."""
    return np.array([[np.exp(-width * ((x - y) ** 2).sum()) for y in control_points] for x in coordinates])


def sparse_vector_field(
    coordinates, velocities, control_points, *, regularization=3.0, volume=5.0, iterations=30, change=1e-5
):
    """Return coefficients, probabilities, variance and energies by EM (Ma et al. 2013), with normal equations."""
    n_cells, n_dims = velocities.shape
    width = kernel_width(control_points)
    between = gaussian_kernel(control_points, control_points, width)
    kernels = gaussian_kernel(coordinates, control_points, width)
    coefficients, energies = np.zeros((len(control_points), n_dims)), []
    squares = (velocities**2).sum(axis=1)
    variance, share = squares.mean() / n_dims, 0.9
    for _ in range(iterations):
        gaussian = share * np.exp(-squares / (2 * variance)) / (2 * np.pi * variance) ** (n_dims / 2)
        probability = gaussian / (gaussian + (1 - share) / volume)
        energy = (probability * squares).sum() / (2 * variance) + probability.sum() * np.log(variance) * n_dims / 2
        energies.append(energy + regularization / 2 * np.trace(coefficients.T @ between @ coefficients))
        probability = np.maximum(probability, 1e-5)
        weighted = kernels.T * probability
        left = weighted @ kernels + regularization * variance * between
        coefficients = np.linalg.solve(left, weighted @ velocities)
        squares = ((velocities - kernels @ coefficients) ** 2).sum(axis=1)
        variance = (probability * squares).sum() / (n_dims * probability.sum())
        share = min(max(np.mean(probability > 0.75), 0.05), 0.95)
        if len(energies) > 1 and abs(energies[-1] - energies[-2]) <= change * abs(energies[-1]):
            break
    return coefficients, probability, variance, np.array(energies)


def perturbation_transition_matrix(coordinates, velocities, distances, diffusion):
    """Return the transition matrix of Dynamo 1.5.3's method "fp": the embedded chain of flows between neighbors."""
    n_cells = len(coordinates)
    flow, adjacency = np.zeros((n_cells, n_cells)), np.zeros((n_cells, n_cells))
    for i, j in zip(*distances.nonzero(), strict=True):
        step = coordinates[j] - coordinates[i]
        length = np.linalg.norm(step)
        mean = np.mean([velocities[i] @ step, velocities[j] @ step]) / (length if length > 0 else 1)
        flow[i, j], flow[j, i] = signed_sqrt(mean), -signed_sqrt(mean)
        adjacency[i, j] = adjacency[j, i] = 1
    flow = (flow - flow.T) / 2
    drift, laplacian = np.maximum(flow, 0), np.diag(adjacency.sum(axis=1)) - adjacency
    rates = 0.5 * (drift - np.diag(drift.sum(axis=1))) - diffusion * laplacian
    np.fill_diagonal(rates, 0)
    return np.array([row / row.sum() if row.any() else row for row in rates])
