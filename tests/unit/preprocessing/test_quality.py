import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from veloshard.preprocessing.quality import cell_metrics, summarize_quality


def prepared(labels, spliced, unspliced, genes):
    """Return the parts of a prepared dataset that quality control reads."""
    spliced, unspliced = np.array(spliced, dtype=np.float32), np.array(unspliced, dtype=np.float32)
    obs = pd.DataFrame(
        {
            "clusters": pd.Categorical(labels),
            "initial_size_spliced": spliced,
            "initial_size_unspliced": unspliced,
            "n_genes": genes,
            "unspliced_fraction": (pd.Series(unspliced) / (spliced + unspliced)).to_numpy(),
        },
        index=[f"cell{i}" for i in range(len(labels))],
    )
    record = {"left_out": {"empty_cells": np.int64(3)}, "warnings": np.array([], dtype=str)}
    ingested = {"warnings": np.array([], dtype=str), "duplicate_cells": 0, "n_cells": len(obs)}
    ingested |= {"counts": "integer", "format": "h5ad"}
    return AnnData(obs=obs, uns={"ingest": ingested, "prepare": record})


def test_verdict_names_failed_checks():
    cells = prepared(["a"] * 4, [600, 700, 800, 900], [200] * 4, [300] * 4)
    assert summarize_quality(cells)["verdict"] == "as expected"
    cells.uns["ingest"] |= {"duplicate_cells": 2, "counts": "non-integer"}
    summary = summarize_quality(cells, min_genes=400)
    failed = [check["name"] for check in summary["checks"] if not check["holds"]]
    assert failed == ["median genes per cell", "fraction of duplicate cells", "counts are whole numbers"]
    assert all(name in summary["verdict"] for name in failed)


def test_swapped_layers_are_suspected():
    cells = prepared(["a"] * 3, [200, 250, 150], [800] * 3, [300] * 3)
    assert "perhaps swapped" in summarize_quality(cells)["warnings"][0]


def test_cell_metrics():
    spliced = sparse.csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]]))
    unspliced = sparse.csr_matrix(np.array([[0, 4, 1], [0, 0, 0], [0, 1, 0]]))
    metrics = cell_metrics(spliced, unspliced, np.float32([3, 0, 6]), np.float32([5, 0, 2]))
    assert metrics["n_genes"].tolist() == [3, 0, 1]
    # by cell size, not by the counts given: 5 of 8, 2 of 8; a cell without counts has no fraction
    np.testing.assert_array_equal(metrics["unspliced_fraction"], [0.625, np.nan, 0.25])


def test_each_cluster_is_summarized():
    cells = prepared(["a", "a", "a", "b", "b"], [80, 90, 100, 60, 60], [20, 10, 100, 40, 40], [5, 6, 9, 2, 4])
    report = summarize_quality(cells, clusters="clusters")
    assert report["clusters"] == [
        {
            "cluster": "a",
            "cells": 3,
            "spliced_counts": 90.0,
            "unspliced_counts": 20.0,
            "genes": 6.0,
            "unspliced_fraction": pytest.approx((0.2 + 0.1 + 0.5) / 3),
        },
        {
            "cluster": "b",
            "cells": 2,
            "spliced_counts": 60.0,
            "unspliced_counts": 40.0,
            "genes": 3.0,
            "unspliced_fraction": pytest.approx(0.4),
        },
    ]
    assert report["dataset"]["cells"] == 5
    assert report["dataset"]["genes"] == 5.0
    assert report["warnings"] == []


def test_cluster_of_one_cell_has_a_reason_instead_of_numbers():
    report = summarize_quality(prepared(["a", "a", "b"], [80, 80, 60], [20, 20, 30], [5, 5, 5]), clusters="clusters")
    single = report["clusters"][1]
    assert single.pop("reason") == "only one cell"
    assert (single.pop("cluster"), single.pop("cells")) == ("b", 1)
    assert set(single.values()) == {None}


def test_summary_can_be_written_as_json_with_empty_and_unlabeled_cells():
    cells = prepared(["a", None, "b", "b"], [0, 80, 60, 60], [0, 20, 30, 30], [0, 5, 5, 5])
    for clusters in ("clusters", None, ""):
        report = summarize_quality(cells, clusters=clusters)
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert report["left_out"] == {"empty_cells": 3}
        assert report["unlabeled_cells"] == (1 if clusters else 0)


@pytest.mark.parametrize(("fraction", "is_outside"), [(0.04, True), (0.06, False), (0.49, False), (0.51, True)])
def test_unspliced_fraction_outside_the_range_gives_a_warning_with_the_cluster(fraction, is_outside):
    expected, tested = [75, 75, 75, 75], [100 * (1 - fraction)] * 2
    cells = prepared([*"aaaa", *"bb"], [*expected, *tested], [25] * 4 + [100 * fraction] * 2, [5] * 6)
    warnings = summarize_quality(cells, clusters="clusters")["warnings"]
    if is_outside:
        assert len(warnings) == 1
        assert f"b {fraction:.1%}" in warnings[0]
        assert "check how introns were counted" in warnings[0]
    else:
        assert warnings == []


def test_warnings_of_all_steps_are_collected_in_order():
    cells = prepared(["a", "a"], [90, 90], [10, 10], [5, 5])
    cells.uns["ingest"]["warnings"] = np.array(["first"])
    cells.uns["prepare"]["warnings"] = np.array(["third"])
    assert summarize_quality(cells, warnings=["second"])["warnings"] == ["first", "second", "third"]


def test_numbered_clusters_are_summarized_under_their_labels():
    cells = prepared([10.0, 10.0, 9.0], [80, 80, 60], [20, 20, 30], [5, 5, 5])
    cells.obs["clusters"] = cells.obs["clusters"].astype(float)
    rows = summarize_quality(cells, clusters="clusters")["clusters"]
    assert [row["cluster"] for row in rows] == ["9", "10"]
