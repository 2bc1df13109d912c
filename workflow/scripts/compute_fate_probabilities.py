r"""Compute fate probabilities with CellRank, in the Python environment of envs/cellrank.yaml.

    compute_fate_probabilities.py --result velocity.h5ad --options '{...}' \
        --fate-probabilities fate_probabilities.csv --lineage-drivers lineage_drivers.csv --summary fate_summary.json

The program does not import the library, which needs other versions of packages than that environment has. If the run
fails, the last line of its output gives the reason.
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

log = logging.getLogger("compute_fate_probabilities")

# The Schur decomposition that finds macrostates is dense: it takes several times 8 bytes per pair of cells, and its
# time is cubic.
MAX_CELLS_FOR_MACROSTATES = 20_000
# CellRank's own lower bound of the stability of a terminal state
MIN_STABILITY = 0.96


class Estimator(GPCCA):
    """CellRank's estimator with a direct solver for the fate probabilities.

    The iterative solver of CellRank 2.3.3 does not converge if cells have transitions that hardly ever leave them, and
    CellRank refuses probabilities that rounding makes negative.
    """

    def _compute_fate_probabilities(self, q, s, *, trans_indices, term_states, **_):
        """Return absorption probabilities (n_cells, n_fates): x = q x + s for transient cells, 1 for terminal cells.

        q : CSR, transitions among the cells `trans_indices`. s : (len(trans_indices), n_fates), transitions into each
        terminal state.
        """
        system = (sparse.identity(q.shape[0], format="csr") - q).tocsc()
        # Without pivoting, which this kind of matrix (an M-matrix) allows, no operation subtracts, and no result is
        # negative.
        factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        transient = factors.solve(np.asarray(s))
        total = transient.sum(axis=1, keepdims=True)
        # the rounding error of cells that are hardly ever left is the same for all their fates
        if not np.allclose(total, 1, atol=0.1):
            raise ValueError(
                f"fate probabilities of a cell sum to {total.min():.3g}: the transition matrix hardly leaves some cells"
            )
        probabilities = pd.get_dummies(term_states).to_numpy(dtype=np.float64, copy=True)
        probabilities[trans_indices] = transient / total
        return probabilities


def main(*, result, fate_probabilities, lineage_drivers, summary, velocity_weight, **options):
    """Write fate probabilities, lineage drivers and the states of a result.

    Parameters
    ----------
    result : path-like
        File `velocity.h5ad`.
    fate_probabilities, lineage_drivers, summary : path-like
        Files to write: tables of fate probabilities and lineage drivers, and a JSON file with the states.
    velocity_weight : float
        See `combine_kernels`.
    **options
        Options of `estimate_fate_probabilities`.
    """
    cells = anndata.read_h5ad(result)
    estimator, states = estimate_fate_probabilities(cells, combine_kernels(cells, velocity_weight), **options)
    with exit_on_error("CellRank could not correlate genes with fate probabilities."):
        correlations = tabulate_lineage_drivers(estimator)
    tabulate_fate_probabilities(estimator).to_csv(fate_probabilities, index_label="cell")
    correlations.to_csv(lineage_drivers, index=False)
    states = {"cellrank": version("cellrank"), **states}
    Path(summary).write_text(json.dumps(states, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def combine_kernels(cells, velocity_weight):
    """Return CellRank's kernel of transitions along the velocity and to neighbors (Lange et al. 2022).

    Parameters
    ----------
    cells : AnnData
        Cells with the layers `Ms` and `velocity` and the graph `connectivities`.
    velocity_weight : float
        Weight of the transitions along the velocity, between 0 and 1.

    Returns
    -------
    cellrank.kernels.Kernel
        Weighted sum of a velocity kernel and a connectivity kernel.
    """
    with exit_on_error("CellRank could not compute a transition matrix from the velocities."):
        velocity_kernel = VelocityKernel(cells).compute_transition_matrix(show_progress_bar=False, seed=0, n_jobs=1)
        connectivity_kernel = ConnectivityKernel(cells).compute_transition_matrix()
        return velocity_weight * velocity_kernel + (1 - velocity_weight) * connectivity_kernel


def estimate_fate_probabilities(cells, kernel, *, clusters="", root="", terminal_states=(), n_states=None):
    """Return CellRank's estimator with fate probabilities, and the states on which they are based.

    Parameters
    ----------
    cells : AnnData
        Cells.
    kernel : cellrank.kernels.Kernel
        Kernel with a transition matrix.
    clusters : str
        Column of `obs`; empty for none.
    root : str
        Cluster in which the process starts; empty if unknown.
    terminal_states : sequence of str
        Clusters all of whose cells are terminal. Without them, CellRank looks for macrostates, and those that are
        stable and not initial are terminal.
    n_states : int, optional
        Number of macrostates. By default, the eigenvalues determine it.

    Returns
    -------
    estimator : Estimator
        Estimator with fate probabilities.
    states : dict
        Cells of each state, and the stability of macrostates.

    Raises
    ------
    SystemExit
        With the reason, if there are no two terminal states, or some cells reach none of them.
    """
    estimator = Estimator(kernel)
    if terminal_states:
        estimator.set_terminal_states(cells_of_clusters(cells, clusters, terminal_states))
        states = {}
    else:
        states = find_terminal_states(estimator, clusters=clusters, root=str(root), n_states=n_states)
    states["terminal_states"] = cells_of_states(estimator.terminal_states)
    require_reachable_states(cells, kernel, estimator.terminal_states)
    with exit_on_error("CellRank could not solve for the fate probabilities."):
        estimator.compute_fate_probabilities()
    return estimator, states


def cells_of_clusters(cells, clusters, names):
    """Return the cells of each named cluster; SystemExit if a cluster does not exist."""
    labels = cells.obs[clusters].dropna().astype(str)
    missing = [name for name in map(str, names) if name not in set(labels)]
    if missing:
        present = ", ".join(sorted(set(labels)))
        sys.exit(f"no cluster {missing[0]!r} in column {clusters!r} (found: {present}). Correct terminal_states.")
    return {str(name): list(labels.index[labels == str(name)]) for name in names}


def find_terminal_states(estimator, *, clusters, root, n_states):
    """Find macrostates, set as terminal those that are stable and not initial, and return all of them.

    A macrostate is initial if it lies in the cluster `root` or, without a root, if it has the lowest stationary
    probability.

    Parameters
    ----------
    estimator : Estimator
        Estimator, whose terminal states are set.
    clusters : str
        Column of `obs`; empty for none.
    root : str
        Cluster in which the process starts; empty if unknown.
    n_states : int, optional
        Number of macrostates.

    Returns
    -------
    dict
        `macrostates`, the cells of each; `stability` of each; and `initial_states`, names.

    Raises
    ------
    SystemExit
        With the reason, if there are too many cells or no two terminal states.
    """
    advice = "Name terminal_states of the dataset, or try another fate_probabilities.n_states."
    n_cells = len(estimator)
    if n_cells > MAX_CELLS_FOR_MACROSTATES:
        sys.exit(
            f"{n_cells} cells are too many to find macrostates (at most {MAX_CELLS_FOR_MACROSTATES}). "
            "Name terminal_states of the dataset."
        )
    with exit_on_error(f"CellRank found no states. {advice}"):
        estimator.compute_schur(min(max(20, n_states or 0), n_cells - 1))
        estimator.compute_macrostates(n_states, cluster_key=clusters or None)
    if estimator.coarse_T is None:
        sys.exit(
            f"the eigenvalues of the transition matrix show a single state, and fate probabilities need two. {advice}"
        )
    stability = pd.Series(np.diag(estimator.coarse_T), index=estimator.coarse_T.index)
    initial = find_initial_states(estimator, clusters, root)
    terminal = [name for name in stability.index[stability >= MIN_STABILITY] if name not in initial]
    if len(terminal) < 2:
        listed = ", ".join(f"{name} ({value:.2f})" for name, value in stability.items())
        sys.exit(
            f"of the states, with their stability {listed}, {len(terminal)} are stable ({MIN_STABILITY} or more) and "
            f"not initial (initial: {', '.join(initial) or 'none'}); fate probabilities need two. {advice}"
        )
    estimator.set_terminal_states(terminal)
    return {
        "macrostates": cells_of_states(estimator.macrostates),
        "stability": stability.to_dict(),
        "initial_states": initial,
    }


def find_initial_states(estimator, clusters, root):
    """Return the names of the macrostates in which the process starts."""
    if clusters and root:
        labels = estimator.adata.obs[clusters].astype(str)
        states = cells_of_states(estimator.macrostates)
        # a state belongs to the most frequent cluster among its cells
        return [name for name, cells in states.items() if labels[cells].mode()[0] == root]
    with exit_on_error("CellRank could not find where the process starts. Name root of the dataset."):
        estimator.predict_initial_states(allow_overlap=True)
    return list(estimator.initial_states.cat.categories)


def require_reachable_states(cells, kernel, terminal_states):
    """Exit if a connected component of the transition matrix has no terminal state."""
    _, component = connected_components(kernel.transition_matrix, directed=False)
    unreachable = ~np.isin(component, component[terminal_states.notna()])
    if unreachable.any():
        sys.exit(
            f"{unreachable.sum()} cells (such as {cells.obs_names[unreachable][0]}) are connected to no terminal "
            "state, and have no fate. Leave them out by `cells` of the dataset, or name a terminal state among them."
        )


def cells_of_states(states):
    """Return the names of the cells of each state."""
    return {str(name): list(states.index[states == name]) for name in states.cat.categories}


def tabulate_fate_probabilities(estimator):
    """Return the probability that each cell reaches each terminal state.

    Parameters
    ----------
    estimator : Estimator
        Estimator with fate probabilities.

    Returns
    -------
    DataFrame, shape (n_cells, n_fates)
        Probabilities. Rows sum to 1.
    """
    fates = estimator.fate_probabilities
    return pd.DataFrame(fates.X, index=estimator.adata.obs_names, columns=[str(name) for name in fates.names])


def tabulate_lineage_drivers(estimator):
    """Return correlations of genes with fate probabilities.

    Correlations use log-transformed counts, which are not averaged over neighbors.

    Parameters
    ----------
    estimator : Estimator
        Estimator with fate probabilities.

    Returns
    -------
    DataFrame
        One row per fate and gene, with the correlation, its p-value (Fisher) and its q-value (Benjamini-Hochberg);
        NaN for a gene with constant expression.
    """
    wide = estimator.compute_lineage_drivers(method="fisher")
    tables = [
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
    return pd.concat(tables)


@contextmanager
def exit_on_error(message):
    """Log any exception of CellRank, and exit with a message."""
    try:
        yield
    except Exception as error:  # any exception, because CellRank is another group's code
        log.exception("%s", error)
        sys.exit(f"{message} (CellRank: {' '.join(str(error).split())})")


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser()
    for file in ("result", "fate-probabilities", "lineage-drivers", "summary"):
        parser.add_argument(f"--{file}", required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="as JSON")
    arguments = vars(parser.parse_args())
    main(**arguments.pop("options"), **arguments)
