"""Tables of a result and of a comparison: selection and order of rows, captions, and values in their columns."""

import numpy as np
import pandas as pd
import pytest
from veloshard.io.text_files import save_json
from veloshard.report import html_tables
from veloshard.report.result_tables import (
    GENE_COLUMNS,
    MAX_ROWS,
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


def test_the_best_fitted_velocity_genes_are_shown_first(genes):
    ((caption, shown),) = genes_table(genes).items()
    fitted = genes[genes["velocity_genes"]]
    best = fitted.nlargest(MAX_ROWS, "fit_likelihood")
    assert shown["gene"].tolist() == best["gene"].tolist()
    assert caption.endswith(f"best {MAX_ROWS} of {len(fitted)}, of 30000 genes in genes.csv")


def test_columns_of_the_genes_have_the_values_of_the_csv_file(genes, tmp_path):
    genes.to_csv(tmp_path / "genes.csv", index=False)
    _, tables = result_tables(genes=tmp_path / "genes.csv")
    ((caption, shown),) = tables.items()
    assert caption.startswith("Velocity genes and their fit")
    assert tuple(shown.columns) == GENE_COLUMNS
    pd.testing.assert_frame_equal(
        shown.set_index("gene"), genes.set_index("gene").loc[shown["gene"], list(GENE_COLUMNS[1:])]
    )


def test_genes_of_a_linear_method_are_sorted_by_r2():
    genes = pd.DataFrame({"gene": ["a", "b", "c"], "velocity_r2": [0.1, 0.9, 1], "velocity_genes": [True, True, False]})
    (shown,) = genes_table(genes).values()
    assert shown["gene"].tolist() == ["b", "a"]
    assert "fit_likelihood" not in shown


@pytest.mark.parametrize("columns", [{}, {"fit_scaling": [1.0, 2.0]}])
def test_genes_without_a_goodness_of_fit_stay_in_the_order_of_the_file(columns):
    genes = pd.DataFrame({"gene": ["b", "a"], **columns, "velocity_genes": [True, True]})
    ((caption, shown),) = genes_table(genes).items()
    assert shown["gene"].tolist() == ["b", "a"]
    assert caption.endswith("first 2 of 2, of 2 genes in genes.csv")


def test_the_genes_with_the_highest_ranks_of_every_cluster_are_shown():
    ranking = pd.DataFrame(
        [(cluster, f"g{rank}", rank) for cluster in "abc" for rank in range(1, 401)],
        columns=["cluster", "gene", "rank"],
    )
    ((caption, shown),) = ranking_table(ranking).items()
    assert shown.groupby("cluster")["rank"].agg(["min", "max", "size"]).to_numpy().tolist() == [[1, 100, 100]] * 3
    assert "first 100 of each, 300 of 1200 rows" in caption


def test_the_most_significant_differential_kinetics_are_shown_first():
    kinetics = pd.DataFrame({"gene": list("abc"), "p_value": [0.3, 0.001, 0.002], "q_value": [0.3, 0.003, 0.003]})
    (shown,) = kinetics_table(kinetics).values()
    assert shown["gene"].tolist() == ["b", "c", "a"]
    # by the q-value first
    kinetics = kinetics.assign(q_value=[0.001, 0.2, 0.003])
    (shown,) = kinetics_table(kinetics).values()
    assert shown["gene"].tolist() == ["a", "c", "b"]


def test_a_page_of_a_large_dataset_is_small(genes, tmp_path):
    genes.to_csv(tmp_path / "genes.csv", index=False)
    page = html_tables.html_page("t", *result_tables(genes=tmp_path / "genes.csv"))
    assert len(page) < 200_000


def test_the_verdict_is_first_and_gene_names_stay_text(tmp_path):
    (tmp_path / "genes.csv").write_text("gene,velocity_r2,velocity_genes\nNA,0.5,True\n007,,True\nx,0.7,False\n")
    checks = [{"name": "share", "value": 0.1, "usual": "at least 0.2", "holds": False}]
    save_json(
        tmp_path / "trust.json", {"verdict": "do not trust", "words": "few genes.", "checks": checks, "transitions": []}
    )
    explanation, tables = result_tables(genes=tmp_path / "genes.csv", trust=tmp_path / "trust.json")
    assert explanation.startswith("Do not trust: few genes. ")
    first, second = tables.values()
    assert first.to_dict("records") == checks
    assert second["gene"].tolist() == ["NA", "007"]
    assert second["velocity_r2"].isna().tolist() == [False, True]


def test_each_table_of_a_result_holds_the_file_that_its_caption_names(tmp_path):
    files = {
        "genes": "gene,fit_likelihood,velocity_genes\na,0.5,True\n",
        "ranking": "cluster,gene,rank,score,p_value,q_value\nx,a,1,2.5,0.01,0.02\n",
        "kinetics": "gene,cluster,statistic,p_value,q_value\na,x,3.5,0.03,0.04\n",
        "roots": "root,spearman\ny,0.75\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    checks = [{"name": "share", "value": 0.1, "usual": "at least 0.2", "holds": False}]
    transitions = [{"from": "x", "to": "y", "direction": 0.25}]
    save_json(tmp_path / "trust", {"verdict": "trust", "words": "good.", "checks": checks, "transitions": transitions})
    _, tables = result_tables(**{name: tmp_path / name for name in [*files, "trust"]})
    assert {caption.split(":")[0]: table.to_dict("records") for caption, table in tables.items()} == {
        "Checks of the result": checks,
        "Expected transitions": transitions,
        "Roots": [{"root": "y", "spearman": 0.75}],
        "Genes by cluster": [{"cluster": "x", "gene": "a", "rank": 1, "score": 2.5, "p_value": 0.01, "q_value": 0.02}],
        "Velocity genes and their fit": [{"gene": "a", "fit_likelihood": 0.5}],
        "Differential kinetics": [{"gene": "a", "cluster": "x", "statistic": 3.5, "p_value": 0.03, "q_value": 0.04}],
    }


def test_methods_have_their_costs_and_the_truth_has_a_table_of_its_own(tmp_path):
    (tmp_path / "methods.csv").write_text("method,verdict\n007,trust\nNA,doubtful\n")
    (tmp_path / "comparison.csv").write_text("method,other,cosine,latent_time\n007,NA,0.5,\n007,(truth),0.9,0.8\n")
    costs = pd.DataFrame({"method": ["NA"], "seconds of the fit": [3.0]})
    tables = comparison_tables(methods=tmp_path / "methods.csv", pairs=tmp_path / "comparison.csv", costs=costs)
    assert [caption.split(":")[0] for caption in tables] == ["Methods", "Pairs of methods", "Against the truth"]
    methods, pairs, truth = tables.values()
    assert methods["method"].tolist() == ["007", "NA"]
    assert methods["verdict"].tolist() == ["trust", "doubtful"]
    assert methods["seconds of the fit"].fillna(-1).tolist() == [-1, 3]
    # columns without any value are left out
    assert pairs.to_dict("records") == [{"method": "007", "other": "NA", "cosine": 0.5}]
    assert truth.to_dict("records") == [{"method": "007", "cosine": 0.9, "latent_time": 0.8}]
