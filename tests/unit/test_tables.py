"""What a reader of a result is shown first, and how much of how much."""

import numpy as np
import pandas as pd
import pytest
from veloshard import pages, store
from veloshard.tables import (
    GENE_COLUMNS,
    MOST_ROWS,
    comparison_tables,
    genes_table,
    kinetics_table,
    ranking_table,
    result_tables,
)


@pytest.fixture
def genes():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.lognormal(size=(30_000, len(GENE_COLUMNS))), columns=GENE_COLUMNS)
    table["gene"] = [f"gene{i}" for i in range(len(table))]
    return table.assign(velocity_genes=rng.random(len(table)) < 0.1, status="ok")


def test_velocity_genes_are_shown_the_best_fitted_first(genes):
    ((caption, shown),) = genes_table(genes).items()
    fitted = genes[genes["velocity_genes"]]
    best = fitted.nlargest(MOST_ROWS, "fit_likelihood")
    assert shown["gene"].tolist() == best["gene"].tolist()
    assert caption.endswith(f"best {MOST_ROWS} of {len(fitted)}, of 30000 genes in genes.csv")


def test_a_method_without_likelihoods_is_sorted_by_its_own_measure():
    genes = pd.DataFrame({"gene": ["a", "b", "c"], "velocity_r2": [0.1, 0.9, 1], "velocity_genes": [True, True, False]})
    (shown,) = genes_table(genes).values()
    assert shown["gene"].tolist() == ["b", "a"]
    assert "fit_likelihood" not in shown


def test_every_cluster_is_shown_by_its_first_genes():
    ranking = pd.DataFrame(
        [(cluster, f"g{rank}", rank) for cluster in "abc" for rank in range(1, 401)],
        columns=["cluster", "gene", "rank"],
    )
    ((caption, shown),) = ranking_table(ranking).items()
    assert shown.groupby("cluster")["rank"].agg(["min", "max", "size"]).to_numpy().tolist() == [[1, 100, 100]] * 3
    assert "first 100 of each, 300 of 1200 rows" in caption


def test_kinetics_are_shown_the_clearest_first():
    kinetics = pd.DataFrame({"gene": list("abc"), "p_value": [0.3, 0.001, 0.002], "q_value": [0.3, 0.003, 0.003]})
    (shown,) = kinetics_table(kinetics).values()
    assert shown["gene"].tolist() == ["b", "c", "a"]


def test_a_page_of_a_large_dataset_stays_small(genes, tmp_path):
    genes.to_csv(tmp_path / "genes.csv", index=False)
    page = pages.table_page("t", *result_tables(genes=tmp_path / "genes.csv"))
    assert len(page) < 200_000


def test_the_verdict_comes_first_and_names_that_read_like_numbers_stay(tmp_path):
    (tmp_path / "genes.csv").write_text("gene,velocity_r2,velocity_genes\nNA,0.5,True\n007,,True\nx,0.7,False\n")
    checks = [{"name": "share", "value": 0.1, "usual": "at least 0.2", "holds": False}]
    store.save_json(
        tmp_path / "trust.json", {"verdict": "do not trust", "words": "few genes.", "checks": checks, "transitions": []}
    )
    explanation, tables = result_tables(genes=tmp_path / "genes.csv", trust=tmp_path / "trust.json")
    assert explanation.startswith("Do not trust: few genes. ")
    first, second = tables.values()
    assert first.to_dict("records") == checks
    assert second["gene"].tolist() == ["NA", "007"]
    assert second["velocity_r2"].isna().tolist() == [False, True]


def test_methods_are_shown_with_what_they_took_and_the_truth_apart(tmp_path):
    (tmp_path / "methods.csv").write_text("method,verdict\n007,trust\nNA,doubtful\n")
    (tmp_path / "comparison.csv").write_text("method,other,cosine,latent_time\n007,NA,0.5,\n007,(truth),0.9,0.8\n")
    costs = pd.DataFrame({"method": ["NA"], "seconds of the fit": [3.0]})
    found = comparison_tables(methods=tmp_path / "methods.csv", pairs=tmp_path / "comparison.csv", costs=costs)
    methods, pairs, truth = found.values()
    assert methods["method"].tolist() == ["007", "NA"]
    assert methods["seconds of the fit"].fillna(-1).tolist() == [-1, 3]
    # no column without a value
    assert pairs.to_dict("records") == [{"method": "007", "other": "NA", "cosine": 0.5}]
    assert truth.to_dict("records") == [{"method": "007", "cosine": 0.9, "latent_time": 0.8}]
