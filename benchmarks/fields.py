"""Measure time and memory of vector fields, and compare them with Dynamo for the same velocities.

    .venv/bin/python benchmarks/fields.py
    .venv/bin/python benchmarks/fields.py --dynamo path/to/dynamo.h5ad

Without a file: learn a vector field of simulated cells in 30 principal components, and predict the perturbation of a
gene. Each case runs in its own process and reports its peak memory. With the dynamo.h5ad of a result: learn vector
fields on principal components and embedding with veloshard and with Dynamo (in `.envs/dynamo`), with both of Dynamo's
solvers, for the same velocities and control points. Then compare fixed points and the perturbation of a gene.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow/scripts"))

from veloshard.graph.velocity_embedding import compute_velocity_embedding, unscaled_velocity_embedding
from veloshard.vectorfield import geometry, perturbation, sparsevfc, topography

N_DIMS = 30
LEARN_CASES = [(3_700, 185), (50_000, 1_000), (50_000, 2_000), (200_000, 2_000)]
PERTURB_CASES = [3_700, 30_000]


def simulate_velocities(n_cells, *, rng):
    """Return noisy coordinates of cells on a curve, and noisy velocities along it, (n_cells, N_DIMS) each."""
    cell_times = 4 * rng.random(n_cells)[:, None]
    dimensions, amplitudes = np.arange(N_DIMS), np.geomspace(10, 1, N_DIMS)
    phases = 0.7 * (dimensions + 1) * cell_times + dimensions
    coordinates = amplitudes * np.cos(phases) + rng.normal(0, 0.5, phases.shape)
    velocity = -0.007 * amplitudes * (dimensions + 1) * np.sin(phases) + rng.normal(0, 0.02, phases.shape)
    return coordinates, velocity


def learn(n_cells, n_control_points, n_threads):
    """Learn a vector field with all 30 iterations; return seconds and a summary."""
    coordinates, velocity = simulate_velocities(n_cells, rng=np.random.default_rng(0))
    start = time.perf_counter()
    learned = sparsevfc.learn_vector_field(
        coordinates,
        velocity,
        rng=np.random.default_rng(1),
        n_control_points=n_control_points,
        tolerance=0,
        n_threads=n_threads,
    )
    return time.perf_counter() - start, f"cosine {learned.cosine:.3f}"


def perturb(n_cells):
    """Predict the perturbation of a gene, with a field of 1,000 of the cells; return seconds and a summary."""
    rng = np.random.default_rng(0)
    pcs, velocity = simulate_velocities(n_cells, rng=rng)
    field = sparsevfc.fit_field(pcs[:1000], velocity[:1000], pcs[:200]).field
    distances = NearestNeighbors(n_neighbors=29).fit(pcs).kneighbors_graph(mode="distance")
    loadings = np.linalg.qr(rng.normal(size=(2000, N_DIMS)))[0]
    pca = perturbation.PCALoadings(loadings, np.zeros(2000))
    start = time.perf_counter()
    perturbed = perturbation.perturb_pcs(pcs, pca, {7: ("absolute", -100)})
    effect = perturbation.perturbation_effect(field, pcs, perturbed)
    transition_matrix = perturbation.perturbation_transition_matrix(pcs, effect, sparse.csr_matrix(distances))
    effect_embedding = compute_velocity_embedding(transition_matrix, pcs[:, :2])
    summary = f"{transition_matrix.nnz / n_cells:.0f} edges per cell, finite: {np.isfinite(effect_embedding).all()}"
    return time.perf_counter() - start, summary


def run_case(*arguments):
    """Run a case in its own process; return seconds, peak memory in MB and a summary."""
    run = subprocess.run(
        [sys.executable, __file__, "--case", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def print_cases(threads):
    """Print one row per case."""
    print("| | cells | control points | threads | s | MB | |\n| --- | --- | --- | --- | --- | --- | --- |")
    for n_cells, n_control_points in LEARN_CASES:
        for n_threads in threads:
            seconds, peak, summary = run_case("learn", n_cells, n_control_points, n_threads)
            print(
                f"| learn | {n_cells} | {n_control_points} | {n_threads} | {seconds:.1f} | {peak} | {summary} |",
                flush=True,
            )
    for n_cells in PERTURB_CASES:
        seconds, peak, summary = run_case("perturb", n_cells)
        print(f"| perturb | {n_cells} | 200 | 1 | {seconds:.1f} | {peak} | {summary} |", flush=True)


def cosines(ours, theirs):
    """Return mean and median cosine over the cells with two nonzero velocities, to four digits."""
    products = np.einsum("cd,cd->c", ours, theirs)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    values = products[lengths > 0] / lengths[lengths > 0]
    return f"{np.mean(values):.4f}, {np.median(values):.4f}"


def compare_with_dynamo(path, gene, folder):
    """Print the agreement of fields, fixed points and perturbations with Dynamo."""
    worker = ROOT / "benchmarks/workers/fields_of_dynamo.py"
    subprocess.run([ROOT / ".envs/dynamo/bin/python", "-I", worker, path, folder, gene], check=True, cwd=folder)
    dynamo = np.load(folder / "fields.npz")
    print("\n| space | solver | control points | cosine of inliers | energy: ours, Dynamo's | cosine with velocities |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key in [name.removesuffix("_X_ctrl") for name in dynamo.files if "/" in name and name.endswith("_X_ctrl")]:
        space, solver, n_control_points = key.split("/")
        coordinates, velocity, theirs = dynamo[f"{space}_X"], dynamo[f"{space}_Y"], dynamo[f"{key}_V"]
        learned = sparsevfc.fit_field(coordinates, velocity, dynamo[f"{key}_X_ctrl"])
        ours = sparsevfc.velocity_at(learned.field, coordinates)
        is_inlier = learned.inlier_probability > sparsevfc.INLIER_THRESHOLD
        with_velocities = [sparsevfc.mean_cosine(velocity, predicted) for predicted in (ours, theirs)]
        print(
            f"| {space} | {solver} | {n_control_points} | {cosines(ours[is_inlier], theirs[is_inlier])} | "
            f"{learned.energies[-1]:.1f}, {dynamo[f'{key}_E'][-1]:.1f} | "
            f"{with_velocities[0]:.3f}, {with_velocities[1]:.3f} |"
        )
        if space == "umap":
            compare_fixed_points(dynamo, key, coordinates)
    field = sparsevfc.VectorField(
        *(dynamo[f"perturbed_{name}"] for name in ("X_ctrl", "C")), float(dynamo["perturbed_beta"])
    )
    pca = perturbation.PCALoadings(dynamo["loadings"], dynamo["means"])
    pcs = dynamo["pca_X"]
    distances = sparse.csr_matrix((dynamo["data"], dynamo["indices"], dynamo["indptr"]))
    for value in (-100.0, 0.0):
        perturbed = perturbation.perturb_pcs(pcs, pca, {int(dynamo["gene"]): ("absolute", value)})
        effect = perturbation.perturbation_effect(field, pcs, perturbed)
        transition_matrix = perturbation.perturbation_transition_matrix(pcs, effect, distances)
        effect_embedding = unscaled_velocity_embedding(transition_matrix, dynamo["umap_X"])
        agreement = cosines(effect_embedding, dynamo[f"effect_embedding_{value:g}"])
        print(f"\n{gene} at {value:g}: mean, median cosine of the effect on the embedding {agreement}")


def compare_fixed_points(dynamo, key, coordinates):
    """Print how many of Dynamo's fixed points of its own field have converged, and how many of these are also ours."""
    field = sparsevfc.VectorField(dynamo[f"{key}_X_ctrl"], dynamo[f"{key}_C"], float(dynamo[f"{key}_beta"]))

    def velocity(x):
        return sparsevfc.velocity_at(field, x)

    points = topography.find_fixed_points(
        velocity,
        lambda x: geometry.jacobian(field, x),
        topography.domain_of(coordinates),
        rng=np.random.default_rng(0),
        cells=coordinates,
    )
    theirs = np.atleast_2d(dynamo[f"{key}_points"])
    mean_speed = np.mean(np.linalg.norm(velocity(coordinates), axis=1))
    converged = np.linalg.norm(velocity(theirs), axis=1) < 1e-6 * mean_speed
    distances = np.linalg.norm(theirs[:, None] - points.coordinates, axis=2).min(axis=1, initial=np.inf)
    n_common = np.sum(distances[converged] < 1e-4 * np.ptp(coordinates))
    print(
        f"|  | fixed points of Dynamo's field |  | ours: {len(points.coordinates)}, Dynamo's: {len(theirs)}, of which "
        f"{converged.sum()} converged, of which {n_common} are also ours |  |  |"
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--dynamo", type=Path, help="dynamo.h5ad of a result")
    parser.add_argument("--gene", default="Gcg", help="gene to perturb in that result")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="folder for Dynamo's arrays")
    parser.add_argument("--case", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        name, *numbers = options.case
        with threadpool_limits(1):
            seconds, summary = {"learn": learn, "perturb": perturb}[name](*map(int, numbers))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        print(json.dumps([seconds, peak, summary]))
    elif options.dynamo:
        compare_with_dynamo(options.dynamo.resolve(), options.gene, options.folder)
    else:
        print_cases(options.threads)


if __name__ == "__main__":
    main()
