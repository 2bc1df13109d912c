"""Simulate counts, fit them with the kinetic methods and analyze the results.

Usage: compute.py FOLDER. It writes files of the workflow (prepared.h5ad, <method>/fit.h5)
and the arrays of the analyses (<method>/analyses.h5).
"""

import os
import sys
from pathlib import Path

# what a script of the workflow has from `runtime.start`
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[3] / "workflow/scripts"))

import anndata
import numpy as np
from veloshard import labels
from veloshard.analysis.paga import compute_paga
from veloshard.analysis.pseudotime import compute_pseudotimes
from veloshard.analysis.rank_genes import rank_genes
from veloshard.graph.confidence import compute_confidence
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import compute_velocity_embedding, unscaled_velocity_embedding
from veloshard.graph.velocity_graph import compute_velocity_graph, self_transitions
from veloshard.io.fits import load_fit_genes, load_gene_times, load_velocity, merge_fit_shards, save_fit_shard
from veloshard.io.hdf5 import save_anndata, save_arrays
from veloshard.io.prepared import load_annotations, load_gene_block, load_prepared, save_prepared
from veloshard.kinetics import methods
from veloshard.kinetics.differential_kinetics import find_differential_kinetics
from veloshard.preprocessing.moments import load_moments
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts
from veloshard.vectorfield.dataset import load_coordinates, vector_field_arrays
from veloshard.vectorfield.sparsevfc import learn_vector_field

METHODS = {"steady_state": False, "stochastic": True, "dynamical": True}  # with variance stabilization or not


def main(folder):
    """Write all results below a folder."""
    counts = simulate_counts(seed=0, n_cells=300, n_genes=60)
    counts.uns["ingest"] = {}
    save_anndata(folder / "counts.h5ad", counts)
    path = folder / "prepared.h5ad"
    prepared = prepare_data(anndata.read_h5ad(folder / "counts.h5ad"), dataset="d", n_pcs=10, n_neighbors=15)
    save_prepared(path, prepared)
    for method, sqrt_transform in METHODS.items():
        (folder / method).mkdir()
        analyze(path, folder / method, method=method, sqrt_transform=sqrt_transform)


def analyze(path, folder, *, method, sqrt_transform):
    """Write the fit of a method and the arrays of the analyses."""
    fit_path = folder / "fit.h5"
    for shard in ("1-of-2", "2-of-2"):
        block, fingerprint = load_gene_block(path, shard)
        fit = methods.run(block, method=method)
        save_fit_shard(folder / f"{shard}.h5", fit, block.names, shard=shard, fingerprint=fingerprint)
    prepared = load_prepared(path)
    shards = [folder / "1-of-2.h5", folder / "2-of-2.h5"]
    merge_fit_shards(fit_path, shards, prepared=prepared, select=lambda genes: methods.select(genes, method=method))

    velocity, velocity_genes = load_velocity(fit_path)
    moments = load_moments(path, velocity_genes)
    graph = compute_velocity_graph(moments, velocity, prepared.distances, first_cell=0, sqrt_transform=sqrt_transform)
    transition_matrix = compute_transition_matrix(graph, self_transitions(graph), use_negative_cosines=True)
    obs = load_annotations(path).obs
    names, codes = labels.cluster_codes(obs, "clusters")
    pseudotimes = compute_pseudotimes(
        graph,
        prepared.distances,
        prepared.connectivities,
        in_root_cluster=labels.in_cluster(obs, "clusters", "Progenitor"),
        **load_gene_times(fit_path),
    )
    paga = compute_paga(
        graph,
        prepared.distances,
        codes,
        len(names),
        pseudotime=pseudotimes["velocity_pseudotime"],
        root_cells=pseudotimes["root_cells"],
        end_points=pseudotimes["end_points"],
    )
    ranking = rank_genes(path, fit_path, clusters="clusters")
    pcs = load_coordinates(path, "pca")
    learned = learn_vector_field(pcs, unscaled_velocity_embedding(transition_matrix, pcs), rng=np.random.default_rng(0))
    arrays = {
        "graph": graph,
        "transition_matrix": transition_matrix,
        "velocity_embedding": compute_velocity_embedding(transition_matrix, pcs[:, :2]),
        **dict(zip(("confidence", "length"), compute_confidence(velocity, prepared.distances), strict=True)),
        **pseudotimes,
        **{f"paga_{name}": values for name, values in paga._asdict().items()},
        **{f"ranking_{name}": np.array(ranking[name].to_numpy(), dtype=np.float64) for name in ranking.columns[3:]},
        "ranked_genes": ranking["gene"].to_numpy(dtype=str),
        **{f"vector_field_{name}": values for name, values in vector_field_arrays(learned).items()},
    }
    if method == "dynamical":
        tested = find_differential_kinetics(load_gene_block(path)[0], load_fit_genes(fit_path), codes, names)
        arrays |= {f"kinetics_{name}": values for name, values in tested.pairs.items()}
    save_arrays(folder / "analyses.h5", arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
