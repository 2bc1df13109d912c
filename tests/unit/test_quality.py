import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from veloshard import quality


def prepared(labels, spliced, unspliced, genes):
    """What quality control reads of a prepared dataset."""
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


def test_the_verdict_names_what_is_unusual():
    cells = prepared(["a"] * 4, [600, 700, 800, 900], [200] * 4, [300] * 4)
    assert quality.quality_control(cells)["verdict"] == "usual"
    cells.uns["ingest"] |= {"duplicate_cells": 2, "counts": "non-integer"}
    found = quality.quality_control(cells, min_genes=400)
    unusual = [check["name"] for check in found["checks"] if not check["holds"]]
    assert unusual == ["median genes of a cell", "cells with the counts of another", "counts are whole numbers"]
    assert all(name in found["verdict"] for name in unusual)


def test_swapped_layers_are_guessed():
    cells = prepared(["a"] * 3, [200, 250, 150], [800] * 3, [300] * 3)
    assert "perhaps swapped" in quality.quality_control(cells)["warnings"][0]


def test_metrics_count_what_each_cell_holds():
    spliced = sparse.csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]]))
    unspliced = sparse.csr_matrix(np.array([[0, 4, 1], [0, 0, 0], [0, 1, 0]]))
    metrics = quality.cell_metrics(spliced, unspliced, np.float32([3, 0, 6]), np.float32([5, 0, 2]))
    assert metrics["n_genes"].tolist() == [3, 0, 1]
    # by depth, not by the counts at hand: 5 of 8, 2 of 8; a cell without counts has no fraction
    np.testing.assert_array_equal(metrics["unspliced_fraction"], [0.625, np.nan, 0.25])


def test_each_cluster_has_its_numbers():
    cells = prepared(["a", "a", "a", "b", "b"], [80, 90, 100, 60, 60], [20, 10, 100, 40, 40], [5, 6, 9, 2, 4])
    report = quality.quality_control(cells, clusters="clusters")
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


def test_a_cluster_of_one_cell_has_no_numbers_but_a_reason():
    report = quality.quality_control(
        prepared(["a", "a", "b"], [80, 80, 60], [20, 20, 30], [5, 5, 5]), clusters="clusters"
    )
    lonely = report["clusters"][1]
    assert lonely.pop("reason") == "only one cell"
    assert (lonely.pop("cluster"), lonely.pop("cells")) == ("b", 1)
    assert set(lonely.values()) == {None}


def test_the_report_is_fit_for_json_also_with_empty_and_unlabelled_cells():
    cells = prepared(["a", None, "b", "b"], [0, 80, 60, 60], [0, 20, 30, 30], [0, 5, 5, 5])
    for clusters in ("clusters", None, ""):
        report = quality.quality_control(cells, clusters=clusters)
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert report["left_out"] == {"empty_cells": 3}
        assert report["unlabelled_cells"] == (1 if clusters else 0)


@pytest.mark.parametrize(("fraction", "is_unusual"), [(0.04, True), (0.06, False), (0.49, False), (0.51, True)])
def test_an_unusual_unspliced_fraction_is_warned_of_where_it_is(fraction, is_unusual):
    usual, tested = [75, 75, 75, 75], [100 * (1 - fraction)] * 2
    cells = prepared([*"aaaa", *"bb"], [*usual, *tested], [25] * 4 + [100 * fraction] * 2, [5] * 6)
    warnings = quality.quality_control(cells, clusters="clusters")["warnings"]
    if is_unusual:
        assert len(warnings) == 1
        assert f"b {fraction:.1%}" in warnings[0]
        assert "check how introns were counted" in warnings[0]
    else:
        assert warnings == []


def test_warnings_of_all_steps_are_gathered_in_their_order():
    cells = prepared(["a", "a"], [90, 90], [10, 10], [5, 5])
    cells.uns["ingest"]["warnings"] = np.array(["first"])
    cells.uns["prepare"]["warnings"] = np.array(["third"])
    assert quality.quality_control(cells, warnings=["second"])["warnings"] == ["first", "second", "third"]


def test_numbered_clusters_are_summed_up_under_their_labels():
    cells = prepared([10.0, 10.0, 9.0], [80, 80, 60], [20, 20, 30], [5, 5, 5])
    cells.obs["clusters"] = cells.obs["clusters"].astype(float)
    rows = quality.quality_control(cells, clusters="clusters")["clusters"]
    assert [row["cluster"] for row in rows] == ["9", "10"]
