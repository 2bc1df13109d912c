"""Time and memory of vector fields as cells grow, and against Dynamo on the same arrows.

    .venv/bin/python benchmarks/fields.py
    .venv/bin/python benchmarks/fields.py --dynamo path/to/dynamo.h5ad

Without a file: a field of made-up cells in 30 components, and the effect of a gene on them, each in a process of its
own that reports its peak memory.  With the dynamo.h5ad of a result: fields in components and on the embedding by ours
and by Dynamo (in `.envs/dynamo`), with its default solver and its other one, on the same arrows and control points;
then the fixed points, and a gene that is knocked down.
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

from veloshard import projection  # noqa: E402
from veloshard.vectorfield import geometry, perturbation, sparsevfc, topography  # noqa: E402

N_DIMS = 30
LEARNED = [(3_700, 185), (50_000, 1_000), (50_000, 2_000), (200_000, 2_000)]
PERTURBED = [3_700, 30_000]


def made_up(n_cells, *, rng):
    """Cells on a curve through the components with noise, and arrows along it with more: (n_cells, N_DIMS) each."""
    time_of = 4 * rng.random(n_cells)[:, None]
    numbers, sizes = np.arange(N_DIMS), np.geomspace(10, 1, N_DIMS)
    phases = 0.7 * (numbers + 1) * time_of + numbers
    places = sizes * np.cos(phases) + rng.normal(0, 0.5, phases.shape)
    arrows = -0.007 * sizes * (numbers + 1) * np.sin(phases) + rng.normal(0, 0.02, phases.shape)
    return places, arrows


def learn(n_cells, n_controls, n_threads):
    """Learn a field, with all thirty iterations."""
    places, arrows = made_up(n_cells, rng=np.random.default_rng(0))
    start = time.perf_counter()
    found = sparsevfc.learn(
        places, arrows, rng=np.random.default_rng(1), n_controls=n_controls, tolerance=0, n_threads=n_threads
    )
    return time.perf_counter() - start, f"cosine {found.cosine:.3f}"


def perturb(n_cells):
    """The effect of a gene on each cell, and its arrows on two of the components; the field is of 1,000 cells."""
    rng = np.random.default_rng(0)
    places, arrows = made_up(n_cells, rng=rng)
    field = sparsevfc.fit_field(places[:1000], arrows[:1000], places[:200]).field
    distances = NearestNeighbors(n_neighbors=29).fit(places).kneighbors_graph(mode="distance")
    loadings = np.linalg.qr(rng.normal(size=(2000, N_DIMS)))[0]
    linear = perturbation.Components(loadings, np.zeros(2000))
    start = time.perf_counter()
    moved = perturbation.perturbed(places, linear, {7: ("absolute", -100)})
    walk = perturbation.walk(places, perturbation.effect(field, places, moved), sparse.csr_matrix(distances))
    drawn = projection.project(walk, places[:, :2])
    return time.perf_counter() - start, f"{walk.nnz / n_cells:.0f} edges a cell, {np.isfinite(drawn).all()}"


def in_own_process(*arguments):
    """What a case took: seconds, peak memory in MB, words."""
    run = subprocess.run(
        [sys.executable, __file__, "--case", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def cases(threads):
    """Print a row for each case."""
    print("| | cells | control points | threads | s | MB | |\n| --- | --- | --- | --- | --- | --- | --- |")
    for n_cells, n_controls in LEARNED:
        for n_threads in threads:
            seconds, peak, words = in_own_process("learn", n_cells, n_controls, n_threads)
            print(f"| learn | {n_cells} | {n_controls} | {n_threads} | {seconds:.1f} | {peak} | {words} |", flush=True)
    for n_cells in PERTURBED:
        seconds, peak, words = in_own_process("perturb", n_cells)
        print(f"| knock down | {n_cells} | 200 | 1 | {seconds:.1f} | {peak} | {words} |", flush=True)


def cosines(ours, theirs):
    """Mean and median over the cells that move in both, to four digits."""
    products = np.einsum("cd,cd->c", ours, theirs)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    values = products[lengths > 0] / lengths[lengths > 0]
    return f"{np.mean(values):.4f}, {np.median(values):.4f}"


def against_dynamo(path, gene, folder):
    """Print how our fields, fixed points and arrows agree with Dynamo's on the same arrows and control points."""
    worker = ROOT / "benchmarks/workers/fields_of_dynamo.py"
    subprocess.run([ROOT / ".envs/dynamo/bin/python", "-I", worker, path, folder, gene], check=True, cwd=folder)
    found = np.load(folder / "fields.npz")
    print("\n| space | solver | control points | cosine, of cells that hold | energy: ours, its | with the arrows |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key in [name.removesuffix("_X_ctrl") for name in found.files if "/" in name and name.endswith("_X_ctrl")]:
        space, solver, n_controls = key.split("/")
        places, arrows, theirs = found[f"{space}_X"], found[f"{space}_Y"], found[f"{key}_V"]
        learned = sparsevfc.fit_field(places, arrows, found[f"{key}_X_ctrl"])
        ours, holds = sparsevfc.velocity_at(learned.field, places), learned.inlier_probability > sparsevfc.INLIER
        told = [sparsevfc.mean_cosine(arrows, field) for field in (ours, theirs)]
        print(
            f"| {space} | {solver} | {n_controls} | {cosines(ours[holds], theirs[holds])} | "
            f"{learned.energies[-1]:.1f}, {found[f'{key}_E'][-1]:.1f} | {told[0]:.3f}, {told[1]:.3f} |"
        )
        if space == "umap":
            report_fixed_points(found, key, places)
    field = sparsevfc.VectorField(
        *(found[f"perturbed_{name}"] for name in ("X_ctrl", "C")), float(found["perturbed_beta"])
    )
    linear = perturbation.Components(found["loadings"], found["means"])
    places = found["pca_X"]
    distances = sparse.csr_matrix((found["data"], found["indices"], found["indptr"]))
    for value in (-100.0, 0.0):
        moved = perturbation.perturbed(places, linear, {int(found["gene"]): ("absolute", value)})
        walk = perturbation.walk(places, perturbation.effect(field, places, moved), distances)
        ours = projection.displacements(walk, found["umap_X"])
        print(f"\n{gene} at {value:g}: mean, median cosine of arrows {cosines(ours, found[f'arrows_{value:g}'])}")


def report_fixed_points(found, key, places):
    """Print how many of Dynamo's fixed points of its own field stand still, and whether ours are among them."""
    field = sparsevfc.VectorField(found[f"{key}_X_ctrl"], found[f"{key}_C"], float(found[f"{key}_beta"]))

    def flow(x):
        return sparsevfc.velocity_at(field, x)

    points = topography.fixed_points(
        flow,
        lambda x: geometry.jacobian(field, x),
        topography.domain_around(places),
        rng=np.random.default_rng(0),
        cells=places,
    )
    theirs = np.atleast_2d(found[f"{key}_points"])
    usual = np.mean(np.linalg.norm(flow(places), axis=1))
    still = np.linalg.norm(flow(theirs), axis=1) < 1e-6 * usual
    ways = np.linalg.norm(theirs[:, None] - points.places, axis=2).min(axis=1, initial=np.inf)
    print(
        f"|  | on its field |  | {len(points.places)} fixed points are ours, {len(theirs)} its, of which {still.sum()} "
        f"stand still; {np.sum(ways[still] < 1e-4 * np.ptp(places))} of these are ours |  |  |"
    )


def main():
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--dynamo", type=Path, help="dynamo.h5ad of a result")
    parser.add_argument("--gene", default="Gcg", help="which is knocked down there")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="for what Dynamo finds")
    parser.add_argument("--case", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        what, *numbers = options.case
        with threadpool_limits(1):
            seconds, words = {"learn": learn, "perturb": perturb}[what](*map(int, numbers))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        print(json.dumps([seconds, peak, words]))
    elif options.dynamo:
        against_dynamo(options.dynamo.resolve(), options.gene, options.folder)
    else:
        cases(options.threads)


if __name__ == "__main__":
    main()
