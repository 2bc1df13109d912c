"""Clusters with kinetics of their own, where they are known: what the test finds, and what the refit gains.

    .venv/bin/python benchmarks/kinetics.py

In one cluster of the simulator's cells gamma or beta of a fifth of the genes is changed, up or down, and the counts of
those are drawn anew.  Four seeds that nothing was tuned on.

unchanged   share of p-values below .01 and .05 among pairs of genes that nothing was changed of, and clusters
found       pairs at q < .05: changed ones, other clusters of the changed genes, and of other genes
refit       median cosine over cells, and median rank correlation over genes, of the velocities of the changed genes
            with the truth, before and after the changed cluster is taken out: in it, and in all others
"""

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import truth
from scipy import sparse
from scipy.stats import rankdata
from veloshard import differential_kinetics, methods, preprocess, selection, simulate, store

SEEDS = (21, 22, 23, 24)
CLUSTER, FATE = "Fate B", 1
SHARE, NOISE = 0.2, 0.3
CHANGES = ((None, 1.0), ("gamma", 3.0), ("beta", 3.0), ("gamma", 8.0), ("beta", 8.0))


def changed(seed, rate, fold):
    """Counts, true velocities (n_cells, n_genes) and the mask of the genes that were changed."""
    rng = np.random.default_rng(seed)
    known = simulate.simulate(rng, n_cells=2000, n_genes=300, depth=2000 if seed < 23 else 4000, noise=NOISE)
    layers = {name: getattr(known, name).toarray() for name in ("spliced", "unspliced")}
    velocity, own = known.velocity.copy(), np.flatnonzero(known.cluster == CLUSTER)
    # a gene that is off there has no kinetics
    expressed = known.spliced_abundance[own].mean(axis=0) > 0.2 * known.spliced_abundance.mean(axis=0)
    genes = expressed & (rng.random(len(expressed)) < SHARE) & (rate is not None)
    factor = np.where(genes, fold ** rng.choice([-1, 1], len(genes)), 1.0)
    beta, gamma = (getattr(known, name) * (factor if name == rate else 1.0) for name in ("beta", "gamma"))
    u, s = simulate.abundances(
        known.time[own, None],
        known.switch_on[FATE],
        known.switch_off[FATE],
        alpha=known.alpha,
        beta=beta,
        gamma=gamma,
        starts_on=known.kind == "down",
    )
    for name, mean in (("unspliced", u * known.unspliced_capture), ("spliced", s)):
        mean = known.size_factor[own, None] * mean * rng.gamma(NOISE**-2, NOISE**2, mean.shape)
        layers[name][np.ix_(own, genes)] = rng.poisson(mean)[:, genes]
    velocity[np.ix_(own, genes)] = (beta * u - gamma * s)[:, genes]
    counts = anndata.AnnData(
        obs=pd.DataFrame({"clusters": known.cluster}, index=known.cell_names),
        var=pd.DataFrame({"changed": genes}, index=known.gene_names),
        layers={name: sparse.csr_matrix(values) for name, values in layers.items()},
        uns={"ingest": {}},
    )
    return counts, velocity


def tried(seed, rate, fold):
    """Numbers of tests and findings, and scores of the changed genes before and after the refit."""
    counts, velocity = changed(seed, rate, fold)
    prepared = preprocess.prepare(counts, dataset="known")
    with tempfile.TemporaryDirectory() as folder:
        store.save_prepared(Path(folder) / "prepared.h5ad", prepared)
        block, _ = store.load_block(Path(folder) / "prepared.h5ad")
    fit = methods.run(block, method="dynamical")
    names, codes = selection.cluster_codes(prepared.obs, "clusters")
    tested = differential_kinetics.differing_clusters(block, fit.genes, codes, names)
    p, own = tested.p_values, names.index(CLUSTER)
    genes = prepared.var["changed"].to_numpy() & np.isfinite(p[:, own])
    pairs, others = np.zeros(p.shape, bool), np.zeros(p.shape, bool)
    pairs[genes, own] = True
    others[prepared.var["changed"]] = True
    nothing = np.isfinite(p) & ~others
    row = {
        "p < .01": np.sum(p[nothing] < 0.01),
        "p < .05": np.sum(p[nothing] < 0.05),
        "unchanged": nothing.sum(),
        "changed": pairs.sum(),
        "true": np.sum(tested.differs & pairs),
        "others": np.sum(tested.differs & others & ~pairs),
        "false": np.sum(tested.differs & nothing),
    }
    if genes.any():
        again = differential_kinetics.refit(block, pairs, codes)
        sound = again.genes["status"] == "ok"
        rows = np.flatnonzero(genes)[sound]
        cells, columns = (
            whole.get_indexer(part)
            for whole, part in (
                (counts.obs_names, prepared.obs_names),
                (counts.var_names, prepared.var_names[rows]),
            )
        )
        right = velocity[np.ix_(cells, columns)].T
        for what, found in (("before", fit.layers["velocity"][rows]), ("after", again.layers["velocity"][sound])):
            for where, chosen in (("in it", codes == own), ("elsewhere", codes != own)):
                row |= {f"{where}, {what}": scores(found[:, chosen].astype(float), right[:, chosen])}
    return row


def scores(velocity, right):
    """Median cosine over cells and median rank correlation over genes, of (n_genes, n_cells)."""
    ranks = [rankdata(values, axis=1) for values in (velocity, right)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    return np.array([np.nanmedian(truth.correlations(velocity.T, right.T)), np.nanmedian(truth.correlations(*centred))])


def main():
    """Print a row for each change, over all seeds."""
    for rate, fold in CHANGES:
        rows = pd.DataFrame([tried(seed, rate, fold) for seed in SEEDS])
        total = rows.iloc[:, :7].sum()
        shares = [f"{total[name] / total['unchanged']:.3f}" for name in ("p < .01", "p < .05")]
        print(
            f"{rate or 'nothing'} x or / {fold:g}: unchanged {', '.join(shares)} of {total['unchanged']:.0f};", end=" "
        )
        print(*(f"{name} {total[name]:.0f}" for name in ("changed", "true", "others", "false")), sep=", ")
        for column in rows.columns[7:]:
            cosine, rank = np.mean(np.stack(rows[column]), axis=0)
            print(f"    {column}: cosine {cosine:.2f}, rank {rank:.2f}", flush=True)


if __name__ == "__main__":
    main()
