"""Vector fields of a result: what is asked of them, from the files of a dataset to arrays for figures and to tables."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from veloshard import projection, selection, store
from veloshard.errors import InputError, choices
from veloshard.vectorfield import geometry, paths, perturbation, topography
from veloshard.vectorfield.confinement import confined
from veloshard.vectorfield.sparsevfc import VectorField, velocity_at

log = logging.getLogger(__name__)

ALL_CELLS = "(all cells)"
KNOCK_OUT = "knock_out"

# cells around a place in the components, whose mean place on the embedding is where it is drawn
CELLS_AROUND = 10

# a cell is followed until the field would have carried it so often across all cells, at its mean speed
CROSSINGS = 3

# of grid points on the embedding: nearer to a cell than so many steps of the grid
STEPS_TO_CELLS = 2

# other genes that are told of each gene of `regulation`, by cluster
STRONGEST = 20


class Dataset(NamedTuple):
    """What of a dataset its vector fields are about.

    cells, genes : names.   components : (n_cells, n_dims) float64.   embedding : (n_cells, 2) float64, NaN where none.
    linear : `perturbation.Components`, what components are of genes; None where they were brought without.
    clusters, codes : names of the clusters, and which each cell is of, int (n_cells,), -1 for none.
    distances : CSR (n_cells, n_cells) of the neighbours.
    """

    cells: np.ndarray
    genes: np.ndarray
    components: np.ndarray
    embedding: np.ndarray
    linear: perturbation.Components | None
    clusters: list
    codes: np.ndarray
    distances: sparse.csr_matrix


def load_dataset(prepared, embedding, *, clusters):
    """`Dataset` of a prepared.h5ad and an embedding.h5; `clusters` is a column of the former, '' for none."""
    known = store.load_prepared(prepared)
    names, codes = selection.cluster_codes(store.load_annotations(prepared).obs, clusters)
    components, loadings, means = store.load_components(prepared)
    return Dataset(
        cells=known.cells,
        genes=known.genes,
        components=components,
        embedding=load_places(embedding, "embedding"),
        linear=None if loadings is None else perturbation.Components(loadings, means),
        clusters=names,
        codes=codes,
        distances=known.distances,
    )


def load_places(path, space):
    """Places of the cells that a field is learned on, float64: their components, or the embedding's two dimensions."""
    if space == "components":
        return store.load_components(path)[0]
    (places,) = store.load_arrays(path).values()
    return np.asarray(places[:, :2], dtype=np.float64)


def field_arrays(learned):
    """Arrays of a `sparsevfc.Learned`, for `store.save_arrays`."""
    arrays = learned._asdict()
    return {**arrays.pop("field")._asdict(), **arrays}


def load_field(path):
    """`sparsevfc.VectorField` of a file of `field_arrays`, and its inlier probabilities."""
    arrays = store.load_arrays(path)
    return VectorField(*(arrays[name] for name in VectorField._fields)), arrays["inlier_probability"]


def geometry_of_cells(dataset, field, plane):
    """What the derivatives of the fields in the components and on the plane of the embedding say of each cell.

    Returns float64 (n_cells,) by name: `speed`, `divergence`, and the lengths of `acceleration` and `curvature` in the
    components; `divergence_embedding`, `curl_embedding`, NaN for cells without a place there.
    """
    places, known = dataset.components, np.isfinite(dataset.embedding).all(axis=1)
    found = {
        "speed": np.linalg.norm(velocity_at(field, places), axis=1),
        "divergence": geometry.divergence(field, places),
        "acceleration": np.linalg.norm(geometry.acceleration(field, places), axis=1),
        "curvature": np.linalg.norm(geometry.curvature(field, places), axis=1),
    }
    for name, derivative in (("divergence", geometry.divergence), ("curl", geometry.curl)):
        values = found[f"{name}_embedding"] = np.full(len(places), np.nan)
        values[known] = derivative(plane, dataset.embedding[known])
    return found


def cells_table(dataset, found):
    """A row a cell: its name, its cluster and what was found of it."""
    return pd.DataFrame({"cell": dataset.cells, "cluster": _cluster_names(dataset, dataset.codes), **found})


def genes_table(dataset, field):
    """A row a gene and cluster: mean velocity, acceleration and curvature in the gene, most accelerated genes first.

    No rows, with a warning, where components do not say what they are of genes.
    """
    columns = {
        "velocity": velocity_at(field, dataset.components),
        "acceleration": geometry.acceleration(field, dataset.components),
        "curvature": geometry.curvature(field, dataset.components),
    }
    if dataset.linear is None:
        log.warning("the components were brought and do not say what they are of genes: genes.csv has no rows")
        return pd.DataFrame(columns=["cluster", "gene", *columns])
    return _by_gene(dataset, columns).sort_values(
        ["cluster", "acceleration"], key=_largest_first, kind="stable", ignore_index=True
    )


def portrait(dataset, field, plane, *, rng):
    """Topography of the field on the embedding for its figure, and a table of the fixed points of both fields.

    That in the components is confined to the cells: the plain one only stands still where there are none.
    """

    def flow(places):
        return velocity_at(plane, places)

    def derivative(places):
        return geometry.jacobian(plane, places)

    known = dataset.embedding[np.isfinite(dataset.embedding).all(axis=1)]
    domain = topography.domain_around(known)
    points = topography.fixed_points(flow, derivative, domain, rng=rng, cells=dataset.embedding)
    x, y, vectors = topography.on_grid(flow, domain)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    step = np.hypot(x[1] - x[0], y[1] - y[0])
    to_cell = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(grid)[0]
    lines = topography.nullclines(flow, domain)
    found = {
        "x": x,
        "y": y,
        "vectors": vectors,
        "near_cells": to_cell.reshape(vectors.shape[:2]) < STEPS_TO_CELLS * step,
        "domain": domain,
        "places": points.places,
        "kinds": points.kinds,
        "confidence": points.confidence,
        "nullcline_x": _end_to_end(lines[0]),
        "nullcline_y": _end_to_end(lines[1]),
        "separatrices": _end_to_end(topography.separatrices(flow, derivative, points, domain)[0]),
    }
    held = confined(field, dataset.components)
    deep = topography.fixed_points(
        held.velocity,
        held.jacobian,
        topography.domain_around(dataset.components),
        rng=rng,
        cells=dataset.components,
    )
    tables = [
        _points_table(dataset, points, "embedding", points.places),
        _points_table(dataset, deep, "components", dataset.embedding[deep.nearest_cell]),
    ]
    return found, pd.concat(tables, ignore_index=True)


def regulation(dataset, field, genes):
    """How the rate of each gene changes with each, by cluster: arrays for the figure, and a table with other genes too.

    The table holds of each gene, as a regulator of others and as one that they regulate, the strongest of all genes.
    Raises InputError for genes that are not there.
    """
    rows = gene_rows(dataset, genes, "regulation")
    every = np.zeros(len(dataset.cells), dtype=int)
    matrices = np.concatenate(
        [
            geometry.mean_jacobians(field, dataset.components, codes, n_groups)
            for codes, n_groups in ((every, 1), (dataset.codes, len(dataset.clusters)))
        ]
    )
    groups, loadings, everything = [ALL_CELLS, *dataset.clusters], dataset.linear.loadings, slice(None)
    values = geometry.gene_jacobian(matrices, loadings, effectors=rows, regulators=rows)
    regulated = geometry.gene_jacobian(matrices, loadings, effectors=rows, regulators=everything)
    regulators = geometry.gene_jacobian(matrices, loadings, effectors=everything, regulators=rows)
    tables = []
    for group, name in enumerate(groups):
        for number, row in enumerate(rows):
            by_others, of_others = regulated[group, number], regulators[group, :, number]
            for strengths, is_effector in ((by_others, True), (of_others, False)):
                strongest = np.argsort(-np.abs(strengths), kind="stable")
                strongest = np.union1d(strongest[:STRONGEST], rows)
                ends = (np.full(len(strongest), row), strongest)
                effector, regulator = ends if is_effector else ends[::-1]
                tables.append(
                    pd.DataFrame(
                        {
                            "cluster": name,
                            "effector": dataset.genes[effector],
                            "regulator": dataset.genes[regulator],
                            "value": strengths[strongest],
                        }
                    )
                )
    table = pd.concat(tables).drop_duplicates(["cluster", "effector", "regulator"])
    table["cluster"] = pd.Categorical(table["cluster"], groups)
    table = table.sort_values(["cluster", "value"], key=_largest_first, kind="stable", ignore_index=True)
    return {"groups": np.array(groups), "genes": np.array(genes), "values": values}, table


def follow_cells(dataset, field, *, clusters, n_cells, backwards, rng):
    """Courses of some cells of some clusters along the field in the components: arrays for the figure, and a table.

    The field is confined to the cells, also where it is followed backwards: it would carry cells beyond the last.
    """
    chosen = []
    for label in clusters:
        members = np.flatnonzero(dataset.codes == _code_of(dataset, label))
        chosen.append(np.sort(rng.choice(members, size=min(n_cells, len(members)), replace=False)))
    chosen = np.concatenate(chosen)
    sign = -1 if backwards else 1
    held = confined(field._replace(coefficients=sign * field.coefficients), dataset.components)
    speed = float(np.mean(np.linalg.norm(velocity_at(field, dataset.components), axis=1)))
    across = float(np.linalg.norm(np.ptp(dataset.components, axis=0)))
    courses = [
        paths.follow(held.velocity, dataset.components[cell], speed=speed, duration=CROSSINGS * across / speed)
        for cell in chosen
    ]
    log.info("%d of %d cells come to rest", sum(course.ends_at_rest for course in courses), len(courses))
    places, tables = [], []
    for cell, course in zip(chosen, courses, strict=True):
        drawn, nearest = _on_embedding(dataset, course.places)
        places.append(drawn)
        tables.append(
            pd.DataFrame(
                {
                    "cell": dataset.cells[cell],
                    "cluster": _cluster_names(dataset, dataset.codes[[cell]])[0],
                    "time": sign * course.times,
                    "embedding_1": drawn[:, 0],
                    "embedding_2": drawn[:, 1],
                    "cluster_there": _cluster_names(dataset, dataset.codes[nearest]),
                    "ends_at_rest": course.ends_at_rest,
                }
            )
        )
    found = {
        "cells": chosen,
        "places": np.array(places),
        "times": sign * np.array([course.times for course in courses]),
        "ends_at_rest": np.array([course.ends_at_rest for course in courses]),
    }
    return found, pd.concat(tables, ignore_index=True)


def find_paths(dataset, field, pairs):
    """Paths of least action between the middles of clusters: arrays for the figure, a table, and one of the genes."""
    found = {"names": [], "places": [], "duration": [], "action": [], "converged": []}
    tables, of_genes = [], []
    held = confined(field, dataset.components)
    for source, target in pairs:
        ends = [_middle_cell(dataset, label) for label in (source, target)]
        among = paths.path_among_cells(dataset.distances, *ends)
        if among is None:
            log.warning("no neighbours lead from %s to %s: the search begins with a straight line", source, target)
        path = paths.least_action_path(
            held.velocity,
            held.jacobian,
            *dataset.components[ends],
            first_guess=None if among is None else dataset.components[among],
            diffusion=held.speed * held.reach,
            charge=held.speed,
        )
        name = f"{source} to {target}"
        drawn, nearest = _on_embedding(dataset, path.places)
        log.info("%s: action %.3g, duration %.3g", name, path.action, path.times[-1])
        for key, value in zip(found, (name, drawn, path.times[-1], path.action, path.converged), strict=True):
            found[key].append(value)
        columns = {
            "path": name,
            "time": path.times,
            "embedding_1": drawn[:, 0],
            "embedding_2": drawn[:, 1],
            "cluster_there": _cluster_names(dataset, dataset.codes[nearest]),
            "action": path.action,
            "converged": path.converged,
        }
        tables.append(pd.DataFrame(columns))
        of_genes.append(_genes_along(dataset, name, path.places))
    table, genes = pd.concat(tables, ignore_index=True), pd.concat(of_genes, ignore_index=True)
    return {name: np.array(values) for name, values in found.items()}, table, genes


def perturb(dataset, field, changes, *, name):
    """Effect of changed expression on the velocities: arrays for the figure, and a table of the genes, strongest first.

    changes : {gene: {mode: value} or 'knock_out'}.  The effect of a knock-out is that transcripts are lost with rate 1,
    whatever the field; its arrows, and those of what comes with it, are therefore of the field that is left, others
    of the effect alone.  Raises InputError for genes that are not there.
    """
    rows = dict(zip(changes, gene_rows(dataset, changes, f"perturbations.{name}"), strict=True))
    lost = [rows[gene] for gene, change in changes.items() if change == KNOCK_OUT]
    given = {rows[gene]: next(iter(change.items())) for gene, change in changes.items() if change != KNOCK_OUT}
    places = dataset.components
    effects = perturbation.effect(field, places, perturbation.perturbed(places, dataset.linear, given))
    if lost:
        effects += perturbation.loss(places, dataset.linear, lost)
    drawn = effects + velocity_at(field, places) if lost else effects
    arrows = projection.project(perturbation.walk(places, drawn, dataset.distances), dataset.embedding)
    # what is left of nothing is rounding, and would be drawn as long as anything else
    arrows = arrows if drawn.any() else 0 * arrows
    table = _by_gene(dataset, {"effect": effects})
    table = table.sort_values(["cluster", "effect"], key=_largest_first, kind="stable", ignore_index=True)
    told = [f"{gene}: {_told(change)}" for gene, change in changes.items()]
    return {"arrows": arrows, "effect": effects, "name": np.array(name), "changes": np.array(told)}, table


def gene_rows(dataset, genes, option):
    """Numbers of some genes; InputError where one is not there, or nothing is known of any."""
    if dataset.linear is None:
        raise InputError(f"vector_field.{option}: components that were brought do not say what they are of genes.")
    place = {gene: row for row, gene in enumerate(dataset.genes)}
    lost = [gene for gene in genes if gene not in place]
    if lost:
        raise InputError(
            f"vector_field.{option}: {lost[0]!r} is not among the {len(place)} genes that were kept "
            f"({choices(dataset.genes, lost[0])}). Take another, or keep more genes (preprocess.n_top_genes)."
        )
    return np.array([place[gene] for gene in genes])


def _told(change):
    if change == KNOCK_OUT:
        return "knocked out"
    ((mode, value),) = change.items()
    return f"{mode} {value:g}"


def _by_gene(dataset, vectors):
    """Means over all cells and over each cluster of vectors in the components, in each gene: a column each."""
    groups = [ALL_CELLS, *dataset.clusters]
    columns = {"cluster": np.repeat(groups, len(dataset.genes)), "gene": np.tile(dataset.genes, len(groups))}
    every = np.zeros(len(dataset.cells), dtype=int)
    for name, values in vectors.items():
        means = [
            perturbation.effect_on_genes(values, dataset.linear, codes, n_groups)
            for codes, n_groups in ((every, 1), (dataset.codes, len(dataset.clusters)))
        ]
        columns[name] = np.concatenate(means, axis=1).T.ravel()
    table = pd.DataFrame(columns)
    table["cluster"] = pd.Categorical(table["cluster"], groups)
    return table


def _largest_first(column):
    """Key of sorting: numbers by their size, the largest first, whatever their sign; clusters as they are."""
    return -column.abs() if pd.api.types.is_float_dtype(column) else column


def _genes_along(dataset, name, places):
    """Expression of the genes along a path: at both ends and its spread, those that change most first."""
    columns = ["path", "gene", "start", "end", "spread"]
    if dataset.linear is None:
        log.warning("the components were brought and do not say what they are of genes: path_genes.csv has no rows")
        return pd.DataFrame(columns=columns)
    expression = places @ dataset.linear.loadings.T + dataset.linear.means
    values = (name, dataset.genes, expression[0], expression[-1], expression.std(axis=0))
    table = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return table.sort_values("spread", ascending=False, kind="stable", ignore_index=True)


def _points_table(dataset, points, space, drawn):
    return pd.DataFrame(
        {
            "space": space,
            "kind": points.kinds,
            "confidence": points.confidence,
            "embedding_1": drawn[:, 0],
            "embedding_2": drawn[:, 1],
            "nearest_cell": dataset.cells[points.nearest_cell],
            "cluster": _cluster_names(dataset, dataset.codes[points.nearest_cell]),
            "largest_eigenvalue": points.eigenvalues[:, 0].real,
            "smallest_eigenvalue": points.eigenvalues[:, -1].real,
            "turns": np.any(points.eigenvalues.imag != 0, axis=1),
        }
    )


def _on_embedding(dataset, places):
    """Where places in the components are drawn, (n_places, 2), and the nearest cell of each."""
    known = np.flatnonzero(np.isfinite(dataset.embedding).all(axis=1))
    nearest = NearestNeighbors(n_neighbors=min(CELLS_AROUND, len(known))).fit(dataset.components[known])
    around = known[nearest.kneighbors(places, return_distance=False)]
    return dataset.embedding[around].mean(axis=1), around[:, 0]


def _code_of(dataset, label):
    """Number of a cluster; InputError where it is none."""
    if selection.as_label(label) not in dataset.clusters:
        raise InputError(f"vector_field: {label!r} is no cluster ({choices(dataset.clusters, label)}).")
    return dataset.clusters.index(selection.as_label(label))


def _middle_cell(dataset, label):
    """The cell of a cluster that is nearest to the mean of its cells in the components."""
    members = np.flatnonzero(dataset.codes == _code_of(dataset, label))
    places = dataset.components[members]
    return members[np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1))]


def _cluster_names(dataset, codes):
    """Names of clusters by their numbers, '' for -1."""
    return np.array([*dataset.clusters, ""], dtype=object)[codes]


def _end_to_end(lines):
    """Several lines (n_points, 2) one after the other, parted by rows of NaN."""
    parted = [part for line in lines for part in (line, np.full((1, 2), np.nan))]
    return np.concatenate(parted[:-1]) if parted else np.empty((0, 2))
