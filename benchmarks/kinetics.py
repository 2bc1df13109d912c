"""Test differential kinetics, and the refit without differing clusters, on simulations in which they are cells.

    .venv/bin/python benchmarks/kinetics.py

In one cluster of a simulation, gamma or beta of a fifth of the genes is multiplied or divided by a factor, and the
counts of these genes are drawn again. There are four seeds, which were not used for tuning.

unchanged   fraction of p-values below .01 and .05 among pairs of an unchanged gene and a cluster
found       number of pairs at q < .05: changed pairs, other clusters of the changed genes, and unchanged genes
refit       median cosine over cells, and median rank correlation over genes, of the velocities of the changed genes
            with the truth, before and after the refit without the changed cluster: in this cluster, and in all others
"""

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata
from truth import row_cosines
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics import methods
from veloshard.kinetics.differential_kinetics import find_differential_kinetics, refit
from veloshard.labels import cluster_codes
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import abundances, simulate

SEEDS = (21, 22, 23, 24)
CLUSTER, FATE = "Fate B", 1
CHANGED_FRACTION, NOISE = 0.2, 0.3
# changed rates and factors
CHANGES = ((None, 1.0), ("gamma", 3.0), ("beta", 3.0), ("gamma", 8.0), ("beta", 8.0))


def simulate_change(seed, rate, factor):
    """Return simulated counts, in which a rate of some genes differs in one cluster, and the true velocities.

    Parameters
    ----------
    seed : int
        Seed.
    rate : {"beta", "gamma"} or None
        Rate that is changed; None for no change.
    factor : float
        Factor by which the rate is multiplied or divided.

    Returns
    -------
    counts : AnnData, shape (n_cells, n_genes)
        Counts with the column `changed` in `var`.
    velocity : ndarray, shape (n_cells, n_genes)
        True velocities.
    """
    rng = np.random.default_rng(seed)
    cells = simulate(rng, n_cells=2000, n_genes=300, depth=2000 if seed < 23 else 4000, noise=NOISE)
    layers = {name: getattr(cells, name).toarray() for name in ("spliced", "unspliced")}
    velocity, own = cells.velocity.copy(), np.flatnonzero(cells.cluster == CLUSTER)
    # genes without expression in the cluster are not changed
    expressed = cells.spliced_abundance[own].mean(axis=0) > 0.2 * cells.spliced_abundance.mean(axis=0)
    genes = expressed & (rng.random(len(expressed)) < CHANGED_FRACTION) & (rate is not None)
    factors = np.where(genes, factor ** rng.choice([-1, 1], len(genes)), 1.0)
    beta, gamma = (getattr(cells, name) * (factors if name == rate else 1.0) for name in ("beta", "gamma"))
    u, s = abundances(
        cells.time[own, None],
        cells.switch_on[FATE],
        cells.switch_off[FATE],
        alpha=cells.alpha,
        beta=beta,
        gamma=gamma,
        starts_on=cells.kind == "down",
    )
    for name, mean in (("unspliced", u * cells.unspliced_capture), ("spliced", s)):
        mean = cells.size_factor[own, None] * mean * rng.gamma(NOISE**-2, NOISE**2, mean.shape)
        layers[name][np.ix_(own, genes)] = rng.poisson(mean)[:, genes]
    velocity[np.ix_(own, genes)] = (beta * u - gamma * s)[:, genes]
    counts = anndata.AnnData(
        obs=pd.DataFrame({"clusters": cells.cluster}, index=cells.cell_names),
        var=pd.DataFrame({"changed": genes}, index=cells.gene_names),
        layers={name: sparse.csr_matrix(values) for name, values in layers.items()},
        uns={"ingest": {}},
    )
    return counts, velocity


def score_change(seed, rate, factor):
    """Return numbers of tests and significant pairs, and scores of the changed genes before and after the refit."""
    counts, velocity = simulate_change(seed, rate, factor)
    prepared = prepare_data(counts, dataset="kinetics")
    with tempfile.TemporaryDirectory() as folder:
        save_prepared(Path(folder) / "prepared.h5ad", prepared)
        block, _ = load_gene_block(Path(folder) / "prepared.h5ad")
    fit = methods.run(block, method="dynamical")
    names, codes = cluster_codes(prepared.obs, "clusters")
    tested = find_differential_kinetics(block, fit.genes, codes, names)
    p, own = tested.p_values, names.index(CLUSTER)
    genes = prepared.var["changed"].to_numpy() & np.isfinite(p[:, own])
    changed_pairs, changed_genes = np.zeros(p.shape, bool), np.zeros(p.shape, bool)
    changed_pairs[genes, own] = True
    changed_genes[prepared.var["changed"]] = True
    unchanged = np.isfinite(p) & ~changed_genes
    row = {
        "p < .01": np.sum(p[unchanged] < 0.01),
        "p < .05": np.sum(p[unchanged] < 0.05),
        "unchanged": unchanged.sum(),
        "changed": changed_pairs.sum(),
        "true": np.sum(tested.differs & changed_pairs),
        "others": np.sum(tested.differs & changed_genes & ~changed_pairs),
        "false": np.sum(tested.differs & unchanged),
    }
    if genes.any():
        refitted = refit(block, changed_pairs, codes, method="dynamical")
        is_fitted = refitted.genes["status"] == "ok"
        rows = np.flatnonzero(genes)[is_fitted]
        cells, columns = (
            names.get_indexer(prepared_names)
            for names, prepared_names in (
                (counts.obs_names, prepared.obs_names),
                (counts.var_names, prepared.var_names[rows]),
            )
        )
        true_velocity = velocity[np.ix_(cells, columns)].T
        velocity_of_fit = {
            "before": fit.layers["velocity"][rows],
            "after": refitted.layers["velocity"][is_fitted],
        }
        for stage, fitted in velocity_of_fit.items():
            for name, chosen in (("in the cluster", codes == own), ("elsewhere", codes != own)):
                row[f"{name}, {stage}"] = score(fitted[:, chosen].astype(float), true_velocity[:, chosen])
    return row


def score(velocity, truth):
    """Return median cosine over cells and median rank correlation over genes of velocities (n_genes, n_cells)."""
    ranks = [rankdata(values, axis=1) for values in (velocity, truth)]
    centered = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    return np.array([np.nanmedian(row_cosines(velocity.T, truth.T)), np.nanmedian(row_cosines(*centered))])


def main():
    """Print the results of each change, over all seeds."""
    for rate, factor in CHANGES:
        rows = pd.DataFrame([score_change(seed, rate, factor) for seed in SEEDS])
        total = rows.iloc[:, :7].sum()
        fractions = [f"{total[name] / total['unchanged']:.3f}" for name in ("p < .01", "p < .05")]
        print(
            f"{rate or 'nothing'} x or / {factor:g}: unchanged {', '.join(fractions)} of {total['unchanged']:.0f};",
            end=" ",
        )
        print(*(f"{name} {total[name]:.0f}" for name in ("changed", "true", "others", "false")), sep=", ")
        for column in rows.columns[7:]:
            cosine, rank = np.mean(np.stack(rows[column]), axis=0)
            print(f"    {column}: cosine {cosine:.2f}, rank {rank:.2f}", flush=True)


if __name__ == "__main__":
    main()
