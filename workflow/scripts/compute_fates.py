"""Fate probabilities of the cells by CellRank: a program of its own, for the Python of envs/cellrank.yaml.

It must not import the workflow's library, which is held to other versions than that environment has.  The last line
that a run which fails writes says why.
"""

import argparse
import json
import logging
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from cellrank.estimators import GPCCA
from cellrank.kernels import ConnectivityKernel, VelocityKernel
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

log = logging.getLogger("compute_fates")

# The decomposition that finds states is dense: 8 bytes for each pair of cells, several times over, and cubic time.
MOST_CELLS_TO_SEARCH = 20_000


class Estimator(GPCCA):
    """CellRank's estimator, but for how its equation for the fates is solved.

    CellRank 2.3.3 iterates, which does not get there where a walk hardly ever leaves some cells, and refuses what
    rounding puts below zero.
    """

    def _compute_fate_probabilities(self, q, s, *, trans_indices, term_states, **_):
        """Absorption probabilities (n_cells, n_fates): x = q x + s for cells on their way, 1 for those arrived.

        q : CSR, steps among the cells `trans_indices`.   s : (len(trans_indices), n_fates), steps into each fate.
        """
        system = (sparse.identity(q.shape[0], format="csr") - q).tocsc()
        # unpivoted, as such a matrix (an M-matrix) allows: then no step subtracts, and nothing falls below zero
        factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        on_their_way = factors.solve(np.asarray(s))
        total = on_their_way.sum(axis=1, keepdims=True)
        # what rounding takes from cells that are hardly ever left it takes from all their fates alike
        if not np.allclose(total, 1, atol=0.1):
            raise ValueError(f"probabilities of a cell add up to {total.min():.3g}: the walk is stuck in some cells")
        probabilities = pd.get_dummies(term_states).to_numpy(dtype=np.float64, copy=True)
        probabilities[trans_indices] = on_their_way / total
        return probabilities


def main(*, result, fates, drivers, summary, **options):
    """Read `result`, a velocity.h5ad; write the tables `fates` and `drivers` and the JSON `summary`."""
    cells = anndata.read_h5ad(result)
    estimator, states = estimate_fates(cells, walk(cells, options.pop("velocity_weight")), **options)
    with said("CellRank could not correlate genes with fates."):
        correlations = lineage_drivers(estimator)
    probabilities(estimator).to_csv(fates, index_label="cell")
    correlations.to_csv(drivers, index=False)
    states = {"cellrank": version("cellrank"), **states}
    Path(summary).write_text(json.dumps(states, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def walk(cells, velocity_weight):
    """CellRank's kernel: steps along the velocity, and to neighbours whichever way they lie.

    cells : AnnData with layers Ms and velocity and the graph `connectivities`.   velocity_weight : in (0, 1), that of
    the steps along the velocity (Lange et al. 2022).
    """
    with said("CellRank could not make a random walk of the velocities."):
        along = VelocityKernel(cells).compute_transition_matrix(show_progress_bar=False, seed=0, n_jobs=1)
        around = ConnectivityKernel(cells).compute_transition_matrix()
        return velocity_weight * along + (1 - velocity_weight) * around


def estimate_fates(cells, kernel, *, clusters="", root="", terminal_states=(), n_states=None):
    """CellRank's estimator with fate probabilities, and the states that it rests on.

    clusters : column of `cells.obs`, '' for none.   root : cluster in which the process starts, '' for none.
    terminal_states : clusters all of whose cells have arrived; without them states are sought, and those of them
    that are stable and no beginning are terminal.   n_states : how many to seek; None to go by the eigenvalues.

    Returns the estimator and a nest of plain values.  SystemExit, in words, where there are no two terminal states.
    """
    estimator = Estimator(kernel)
    if terminal_states:
        named = clusters_named(cells, clusters, terminal_states)
        estimator.set_terminal_states(named)
        states = {}
    else:
        states = search_states(estimator, clusters=clusters, root=str(root), n_states=n_states)
    states["terminal_states"] = members(estimator.terminal_states)
    check_reach(cells, kernel, estimator.terminal_states)
    with said("CellRank could not solve for the fate probabilities."):
        estimator.compute_fate_probabilities()
    return estimator, states


def clusters_named(cells, clusters, names):
    """Names of the cells of each named cluster; SystemExit where one is not there."""
    labels = cells.obs[clusters].dropna().astype(str)
    missing = [name for name in map(str, names) if name not in set(labels)]
    if missing:
        found = ", ".join(sorted(set(labels)))
        sys.exit(f"no cluster {missing[0]!r} in column {clusters!r} (found: {found}). Correct terminal_states.")
    return {str(name): list(labels.index[labels == str(name)]) for name in names}


def search_states(estimator, *, clusters, root, n_states):
    """Let CellRank find states, set as terminal those that are stable and no beginning, and return all as plain values.

    A beginning is a state in the cluster `root` or, where none is named, that which the walk is least often in.
    """
    advice = "Name terminal_states of the dataset, or try another fates.n_states."
    n_cells = len(estimator)
    if n_cells > MOST_CELLS_TO_SEARCH:
        sys.exit(
            f"{n_cells} cells are too many to seek states among (at most {MOST_CELLS_TO_SEARCH}). "
            "Name terminal_states of the dataset."
        )
    with said(f"CellRank found no states. {advice}"):
        estimator.compute_schur(min(max(20, n_states or 0), n_cells - 1))
        estimator.compute_macrostates(n_states, cluster_key=clusters or None)
    if estimator.coarse_T is None:
        sys.exit(f"by the eigenvalues of the walk there is a single state: fates need two. {advice}")
    stability = pd.Series(np.diag(estimator.coarse_T), index=estimator.coarse_T.index)
    initial = initial_states(estimator, clusters, root)
    # CellRank's own threshold of what is stable
    terminal = [name for name in stability.index[stability >= 0.96] if name not in initial]
    if len(terminal) < 2:
        listed = ", ".join(f"{name} ({value:.2f})" for name, value in stability.items())
        sys.exit(
            f"of the states found, by stability {listed}, {len(terminal)} are stable (0.96 or more) and not where the "
            f"process starts ({', '.join(initial) or 'in none'}): fates need two. {advice}"
        )
    estimator.set_terminal_states(terminal)
    return {
        "macrostates": members(estimator.macrostates),
        "stability": stability.to_dict(),
        "initial_states": initial,
    }


def initial_states(estimator, clusters, root):
    """Names of the states in which the process starts."""
    if clusters and root:
        labels = estimator.adata.obs[clusters].astype(str)
        states = members(estimator.macrostates)
        # a state lies in the cluster that most of its cells are of
        return [name for name, cells in states.items() if labels[cells].mode()[0] == root]
    with said("CellRank could not tell where the process starts. Name root of the dataset."):
        estimator.predict_initial_states(allow_overlap=True)
    return list(estimator.initial_states.cat.categories)


def check_reach(cells, kernel, terminal_states):
    """SystemExit where a part of the neighbour graph has no terminal state: its cells have no fate."""
    _, part = connected_components(kernel.transition_matrix, directed=False)
    lost = ~np.isin(part, part[terminal_states.notna()])
    if lost.any():
        sys.exit(
            f"{lost.sum()} cells (such as {cells.obs_names[lost][0]}) are connected to no terminal state, and have no "
            "fate. Leave them out by `cells` of the dataset, or name a terminal state among them."
        )


def members(states):
    """Names of the cells of each state."""
    return {str(name): list(states.index[states == name]) for name in states.cat.categories}


def probabilities(estimator):
    """Table (n_cells, n_fates): the probability that a walk from a cell ends in each state; rows sum to one."""
    fates = estimator.fate_probabilities
    return pd.DataFrame(fates.X, index=estimator.adata.obs_names, columns=[str(name) for name in fates.names])


def lineage_drivers(estimator):
    """Table of genes by fate: correlation with the fate's probability p by Fisher, q by Benjamini-Hochberg.

    Of the logged counts, which are not averaged over neighbours.  NaN for a gene that all cells express alike.
    """
    wide = estimator.compute_lineage_drivers(method="fisher")
    parts = [
        pd.DataFrame(
            {
                "fate": str(name),
                "gene": wide.index,
                "correlation": wide[f"{name}_corr"],
                "p": wide[f"{name}_pval"],
                "q": wide[f"{name}_qval"],
            }
        ).sort_values("correlation", ascending=False, kind="stable")
        for name in estimator.fate_probabilities.names
    ]
    return pd.concat(parts)


@contextmanager
def said(sentence):
    """Whatever CellRank raises goes to the log; the run ends with a sentence."""
    try:
        yield
    except Exception as error:  # of any kind: it is another's code
        log.exception("%s", error)
        sys.exit(f"{sentence} (CellRank: {' '.join(str(error).split())})")


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser()
    for file in ("result", "fates", "drivers", "summary"):
        parser.add_argument(f"--{file}", required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="as JSON")
    given = vars(parser.parse_args())
    main(**given.pop("options"), **given)
