"""Cells are matched to the rows of a second file by their names, and a poor match is refused with examples."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from support import layouts
from veloshard.errors import InputError
from veloshard.preprocessing.annotations import RULES, match_names
from veloshard.preprocessing.ingest import ingest_counts


@pytest.fixture
def source(tmp_path):
    return str(layouts.write(layouts.starsolo, tmp_path / "sample")[0])


def table(names):
    return pd.DataFrame({"cluster": [f"c{k % 2}" for k in range(len(names))], "depth": range(len(names))}, index=names)


def join(source, annotations, **options):
    """Return counts with annotations."""
    return ingest_counts(
        source, dataset="liver", key="datasets.liver", annotations={"source": str(annotations), **options}
    )


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ("{}", "exact names"),
        ("{}-1", "names without the suffix -1"),
        ("{}x", "names without the suffix x"),
        ("run7:{}", "names without the prefix before the last colon"),
        ("run7:{}x", "names without the prefix before the last colon or underscore, and without the suffix -1 or x"),
        ("run7_{}-1", "names without the prefix before the last colon or underscore, and without the suffix -1 or x"),
        ("{}-1-run7", "barcodes only"),
    ],
)
def test_common_forms_of_names_are_matched(source, tmp_path, form, rule):
    shuffled = [5, 2, 0, 1, 4, 3]
    table([form.format(layouts.BARCODES[k]) for k in shuffled]).to_csv(tmp_path / "cells.csv")
    counts = join(source, tmp_path / "cells.csv")
    assert counts.obs["depth"].tolist() == [shuffled.index(k) for k in range(6)]
    record = counts.uns["ingest"]["annotations"]
    assert record == {"source": str(tmp_path / "cells.csv"), "rule": rule, "cells": 6, "rows": 6, "matched": 6}
    assert rule in RULES


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "parquet", "h5ad"])
def test_all_file_formats_give_the_same_annotations(source, tmp_path, kind):
    path, cells = tmp_path / f"cells.{kind}", table(layouts.BARCODES)
    if kind == "h5ad":
        AnnData(obs=cells, obsm={"X_umap": np.arange(12.0).reshape(6, 2)}, shape=(6, 0)).write_h5ad(path)
    elif kind == "parquet":
        cells.to_parquet(path)
    else:
        cells.to_csv(path, sep="\t" if kind == "tsv" else ",")
    counts = join(source, path)
    assert counts.obs["cluster"].astype(str).tolist() == ["c0", "c1"] * 3
    assert counts.obs["depth"].tolist() == list(range(6))
    if kind == "h5ad":
        np.testing.assert_array_equal(counts.obsm["X_umap"], np.arange(12.0).reshape(6, 2))


def test_cells_without_a_row_are_left_out_or_kept(source, tmp_path):
    table(layouts.BARCODES[:4]).to_csv(tmp_path / "cells.csv")
    counts = join(source, tmp_path / "cells.csv")
    assert counts.obs_names.tolist() == layouts.BARCODES[:4]
    assert any("2 cells have no row" in warning for warning in counts.uns["ingest"]["warnings"])
    kept = join(source, tmp_path / "cells.csv", unmatched="keep")
    assert kept.obs["cluster"].isna().tolist() == [False] * 4 + [True] * 2
    np.testing.assert_array_equal(kept.obs["depth"].to_numpy(dtype=float), [0, 1, 2, 3, np.nan, np.nan])


def test_poor_match_is_refused_with_names_and_advice(source, tmp_path):
    table(
        ["a_" + layouts.BARCODES[0], "b_" + layouts.BARCODES[0], *[f"c_{n[::-1]}" for n in layouts.BARCODES[1:]]]
    ).to_csv(tmp_path / "cells.csv")
    with pytest.raises(InputError) as caught:
        join(source, tmp_path / "cells.csv")
    message = str(caught.value)
    assert "only 0 of 6 cells matched, with 7 rows" in message
    assert f"cells without a row: {', '.join(layouts.BARCODES[:3])}" in message
    assert "rows without a cell: a_GTGTAGTGATTTCC, b_GTGTAGTGATTTCC" in message
    assert "liver.annotations.source" in message


def test_pattern_with_sample_and_barcode(tmp_path):
    paths = {name: str(layouts.write(layouts.starsolo, tmp_path / name)[0]) for name in ("s1", "s2")}
    names = [f"{name}#{sample}" for sample in paths for name in layouts.BARCODES]
    table(names).to_csv(tmp_path / "cells.csv")
    with pytest.raises(InputError, match="6 barcodes are in both, .* but they are not unique") as caught:
        join(paths, tmp_path / "cells.csv")
    assert "liver.annotations.match" in str(caught.value)
    counts = join(paths, tmp_path / "cells.csv", match=r"^(?P<barcode>[ACGT]+)#(?P<sample>.+)$")
    assert counts.obs["depth"].tolist() == list(range(12))


def test_name_that_two_rows_share_is_not_matched():
    matched = match_names(np.array(["AAAAAAA", "CCCCCCC"]), np.array(["AAAAAAA-1", "AAAAAAA-2", "CCCCCCC-1"]))
    assert matched.rows.tolist() == [-1, 2]


@pytest.mark.parametrize("form", ["{sample}_{name}-1", "{sample}:{name}x", "{name}-1-{sample}", "{name}_{sample}"])
def test_barcodes_that_samples_share_are_matched_by_sample(tmp_path, form):
    paths = {name: str(layouts.write(layouts.starsolo, tmp_path / name)[0]) for name in ("s1", "s2")}
    names = [form.format(sample=sample, name=name) for sample in ("s2", "s1") for name in layouts.BARCODES]
    table(names).to_csv(tmp_path / "cells.csv")
    counts = join(paths, tmp_path / "cells.csv")
    assert counts.obs["depth"].tolist() == [*range(6, 12), *range(6)]
    assert counts.uns["ingest"]["annotations"]["rule"] == "sample and barcode"


def test_rows_are_not_matched_to_cells_of_another_sample():
    cells = np.array([f"{s}:{name}" for s, names in (("s1", "AC"), ("s2", "GT")) for name in (n * 8 for n in names)])
    samples = np.array(["s1", "s1", "s2", "s2"])
    # each row has the name of the other sample
    rows = np.array(["s2_AAAAAAAA-1", "s2_CCCCCCCC-1", "s1_GGGGGGGG-1", "s1_TTTTTTTT-1"])
    assert (match_names(cells, rows, samples=samples).rows == -1).all()
    # rows of two samples and cells of one sample are ambiguous
    rows = np.array(["AAAAAAAA-1", "CCCCCCCC-2", "GGGGGGGG-1", "TTTTTTTT-2"])
    assert (match_names(np.array(["AAAAAAAA", "CCCCCCCC", "GGGGGGGG"]), rows).rows == -1).all()
    # samples correspond one to one, though not by name
    rows = np.array(["AAAAAAAA-1", "CCCCCCCC-1", "GGGGGGGG-2", "TTTTTTTT-2"])
    assert match_names(cells, rows, samples=samples).rows.tolist() == [0, 1, 2, 3]


def test_columns_with_missing_values_and_dates_can_be_written(source, tmp_path):
    cells = table(layouts.BARCODES[:4]).assign(doublet=[True, False, True, None], day=pd.Timestamp("2026-01-01"))
    cells["_index"], cells["initial_size_spliced"] = "x", 1e6
    cells.to_parquet(tmp_path / "cells.parquet")
    counts = join(source, tmp_path / "cells.parquet", unmatched="keep")
    counts.write_h5ad(tmp_path / "counts.h5ad")
    written = read_h5ad(tmp_path / "counts.h5ad").obs
    assert written["doublet"].isna().tolist() == [False, False, False, True, True, True]
    np.testing.assert_array_equal(written["depth"], [0, 1, 2, 3, np.nan, np.nan])
    # cell sizes of other counts must not be used
    assert "initial_size_spliced" not in written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["clutser"]}, "no 'clutser' (found: cluster, depth; did you mean 'cluster'?)"),
        ({"match": "("}, "cannot be used"),
        ({"match": "[ACGT]+"}, "no group (?P<barcode>...)"),
    ],
)
def test_wrong_columns_and_patterns_are_refused(source, tmp_path, options, message):
    table(layouts.BARCODES).to_csv(tmp_path / "cells.csv")
    with pytest.raises(InputError) as caught:
        join(source, tmp_path / "cells.csv", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("cells.xlsx", b"PK", "not one of"), ("cells.csv", b"", "damaged"), ("cells.parquet", b"PAR1", "damaged"),
    ("cells.h5ad", b"x", "damaged"), ("cells.csv", b"cell,cluster\n", "has no rows"),
])  # fmt: skip
def test_files_without_annotations_are_refused(source, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        join(source, tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        join(source, tmp_path / "nothing.csv")


def test_selected_columns_replace_those_of_the_counts(tmp_path):
    path = str(layouts.write(layouts.h5ad, tmp_path / "sample")[0])
    table(layouts.BARCODES).to_csv(tmp_path / "cells.csv")
    counts = join(path, tmp_path / "cells.csv", columns=["cluster"])
    assert list(counts.obs) == ["cluster"]
