"""The AnnData files that people open: simulated counts, and velocity results."""

import importlib.metadata
import json

import anndata
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from veloshard import __version__
from veloshard.cell_cycle import PHASES
from veloshard.figures.style import Style, clusters_of
from veloshard.graph import split_signs
from veloshard.ranking import rankings_for_anndata
from veloshard.selection import as_labels, labelled_colors
from veloshard.simulate import simulate

# Packages that decide the bits of a result.
PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "scanpy", "umap-learn", "anndata", "h5py")


def simulated_counts(*, seed, **options):
    """AnnData of a simulation: counts in `layers`, and the truth behind them.

    options : of `simulate.simulate`.   Truth: `layers` true_velocity; `obs` true_time, lineage, clusters; `var`
    true_alpha, true_beta, true_gamma, kind, fate.
    """
    truth = simulate(np.random.default_rng(seed), **options)
    return anndata.AnnData(
        obs=pd.DataFrame(
            {
                "clusters": pd.Categorical(truth.cluster),
                "lineage": pd.Categorical(truth.lineage),
                "true_time": truth.time,
            },
            index=truth.cell_names,
        ),
        var=pd.DataFrame(
            {
                "kind": pd.Categorical(truth.kind),
                "fate": pd.Categorical(truth.fate),
                "true_alpha": truth.alpha,
                "true_beta": truth.beta,
                "true_gamma": truth.gamma,
                "unspliced_capture": truth.unspliced_capture,
            },
            index=truth.gene_names,
        ),
        layers={
            "spliced": truth.spliced,
            "unspliced": truth.unspliced,
            "true_velocity": truth.velocity.astype(np.float32),
        },
    )


def velocity_result(
    prepared,
    *,
    genes,
    cells,
    graph,
    self_transition,
    places,
    more_places,
    model_versions,
    arrows,
    cell_cycle,
    kinetics,
    ranked,
    abstracted,
    clusters,
    warnings,
    options,
):
    """AnnData of a velocity result without its dense layers, with the keys that scVelo and CellRank look for.

    prepared : AnnData written by `store.save_prepared`; changed and returned.   genes, cells : columns to add.
    graph : signed CSR (n_cells, n_cells).   self_transition : (n_cells,).
    places : {key of `obsm`: (n_cells, n_dims)}, the embedding.   arrows : (n_cells, n_dims).
    model_versions : of the packages that another's model ran with, `name version`.
    more_places : what else the method says of where cells are, in the form of `places`.
    cell_cycle : of `cell_cycle.score_cell_cycle`; scores that the user brought stay.
    kinetics : columns of the genes, p-values and mask of a `differential_kinetics.Tested`, or None.
    ranked : of `ranking.rank_genes`.   abstracted : fields of a `paga.AbstractedGraph`.
    clusters : column of `obs`, '' for none.   warnings : of all steps before.
    options : nest of plain values that decided the result.
    """
    summary, ingested = prepared.uns.pop("prepare"), prepared.uns.pop("ingest")
    ((embedding, positions),) = places.items()
    basis = embedding.removeprefix("X_")
    prepared.var = prepared.var.assign(**genes)
    prepared.obs = prepared.obs.assign(velocity_self_transition=self_transition, **cells)
    prepared.obsm.update({**more_places, embedding: positions, f"velocity_{basis}": arrows})
    if cell_cycle and prepared.obs.columns.isdisjoint(cell_cycle):
        phase = pd.Categorical.from_codes(cell_cycle["phase"], PHASES)
        prepared.obs = prepared.obs.assign(**cell_cycle | {"phase": phase})
    prepared.uns["velocity_graph"], prepared.uns["velocity_graph_neg"] = split_signs(graph)
    method = options["method"]["method"]
    prepared.uns["velocity_params"] = {
        "mode": method,
        "dataset": options["dataset_name"],
        "method": options["method_name"],
        "embedding": basis,
    }
    if clusters:
        _label_clusters(prepared, clusters)
        prepared.uns[f"{clusters}_sizes"] = abstracted["sizes"]
        prepared.uns["paga"] = {name: values for name, values in abstracted.items() if name != "sizes"}
        prepared.uns["paga"]["groups"] = clusters
        if kinetics:
            _add_kinetics(prepared, *kinetics)
    prepared.uns.update(rankings_for_anndata(ranked, clusters=clusters))
    if method == "dynamical":
        # scVelo reads how the fit was made before it computes with it
        prepared.uns["recover_dynamics"] = {
            "fit_connected_states": True,
            "fit_basal_transcription": False,
            "use_raw": False,
        }
    prepared.uns["provenance"] = {
        "source": {key: ingested[key] for key in ("source", "format", "sha256")},
        "prepared_sha256": summary["fingerprint"],
        "options": json.dumps(options, sort_keys=True),
        "versions": {"veloshard": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
        "model_versions": np.array(model_versions, dtype=str),
        "warnings": np.array(warnings, dtype=str),
        "left_out": summary["left_out"],
    }
    return prepared


def _add_kinetics(result, genes, p_values, _):
    """Add what a test of differential kinetics found, where scVelo keeps it."""
    result.var = result.var.assign(**genes)
    # an array, in the order of the clusters: AnnData refuses some names of columns
    result.varm["fit_pvals_kinetics"] = p_values


def _label_clusters(result, column):
    """Turn the column with the clusters into labels, and name it and its colours for figures to find."""
    colors = labelled_colors(result.obs[column], result.uns.pop(f"{column}_colors", ()))
    result.obs[column] = as_labels(result.obs[column])
    result.uns["velocity_params"]["clusters"] = column
    if len(colors):
        result.uns[f"{column}_colors"] = colors
    drawn = clusters_of(result, Style())
    color_of = dict(zip(drawn.names, drawn.colours, strict=True))
    result.uns[f"{column}_colors"] = np.array(
        [to_hex(color_of.get(name, drawn.unknown)) for name in result.obs[column].cat.categories]
    )
