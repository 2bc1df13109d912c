import numpy as np
import pandas as pd
import pytest
from veloshard.errors import InputError
from veloshard.labels import as_labels, in_cluster, label_colors
from veloshard.preprocessing.cell_selection import cells_to_keep
from veloshard.preprocessing.gene_selection import genes_to_keep


def obs():
    """Return the annotations of six cells, one of which has no stage."""
    return pd.DataFrame(
        {"clusters": list("aabbcc"), "stage": [12.0, 35, 12, 35, np.nan, 12], "sick": [True, False] * 3},
        index=[f"cell{i}" for i in range(6)],
    )


@pytest.mark.parametrize(
    ("values", "labels", "categories"),
    [
        ([2.0, 10.0, np.nan], ["2", "10", np.nan], ["2", "10"]),
        ([10, 2, 2], ["10", "2", "2"], ["2", "10"]),
        ([True, False, True], ["True", "False", "True"], ["False", "True"]),
        (["b", None, "a"], ["b", np.nan, "a"], ["a", "b"]),
        (pd.Categorical(["b", "nan", "a"], ["b", "a", "nan", "c"]), ["b", np.nan, "a"], ["b", "a"]),
    ],
)
def test_annotations_of_any_type_become_labels(values, labels, categories):
    result = as_labels(pd.Series(values))
    assert result.tolist() == labels
    assert list(result.cat.categories) == categories


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"keep": {"clusters": ["a", "c"]}}, [1, 1, 0, 0, 1, 1]),
        ({"keep": {"stage": [12]}}, [1, 0, 1, 0, 0, 1]),
        ({"keep": {"clusters": ["a", "b"], "stage": ["35"]}}, [0, 1, 0, 1, 0, 0]),
        ({"drop": {"stage": [35]}}, [1, 0, 1, 0, 1, 1]),
        ({"keep": {"stage": [12]}, "drop": {"clusters": ["c"], "sick": [False]}}, [1, 0, 1, 0, 0, 0]),
    ],
)
def test_cells_are_selected_by_all_keep_columns_and_no_drop_column(options, expected):
    np.testing.assert_array_equal(cells_to_keep(obs(), dataset="d", **options), np.array(expected, bool))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"exclude": ["Ins1"]}, [0, 1, 1, 1]),
        ({"exclude_pattern": "^mt-"}, [1, 0, 0, 1]),
        ({"exclude": ["Ins1"], "exclude_pattern": "^mt-"}, [0, 0, 0, 1]),
    ],
)
def test_genes_are_excluded_by_name_and_by_pattern(options, expected):
    names = pd.Index(["Ins1", "mt-Nd1", "mt-Co1", "Amt-x"])
    np.testing.assert_array_equal(genes_to_keep(names, dataset="d", **options), np.array(expected, bool))


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"keep": {"cluster": ["a"]}},
            ["no column 'cluster'", "did you mean 'clusters'?", "datasets.liver.cells.keep"],
        ),
        ({"drop": {"stage": [13]}}, ["stage '13'", "found: 12, 35", "datasets.liver.cells.drop.stage"]),
        ({"keep": {"clusters": ["a"], "stage": [35]}}, ["1 of 6 cells are selected", "datasets.liver.cells.keep"]),
    ],
)
def test_wrong_selection_of_cells_is_refused(options, messages):
    with pytest.raises(InputError) as caught:
        cells_to_keep(obs(), dataset="liver", key="datasets.liver.cells", **options)
    for part in ["dataset 'liver'", *messages]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"exclude": ["Ins2", "Gcg"]}, ["1 of the genes", "Ins2", "did you mean 'Ins1'?", "genes.exclude"]),
        (
            {"exclude_pattern": "mt-("},
            ["not a regular expression", "'^mt-'", "datasets.liver.genes.exclude_pattern"],
        ),
        ({"exclude_pattern": "."}, ["all 2 genes are excluded", "datasets.liver.genes.exclude"]),
    ],
)
def test_wrong_selection_of_genes_is_refused(options, messages):
    with pytest.raises(InputError) as caught:
        genes_to_keep(pd.Index(["Ins1", "Gcg"]), dataset="liver", key="datasets.liver.genes", **options)
    for part in ["dataset 'liver'", *messages]:
        assert part in str(caught.value)


def test_colors_belong_to_their_labels():
    column = pd.Series(pd.Categorical(["b", "nan", "a"], ["nan", "b", "c", "a"]))
    colors = label_colors(column, ["gray", "blue", "green", "red"])
    assert list(colors) == ["blue", "red"]
    assert list(as_labels(column).cat.categories) == ["b", "a"]


@pytest.mark.parametrize("column", [pd.Series(["b", "a"]), pd.Series(pd.Categorical(["b", "a"]))])
def test_colors_that_do_not_fit_the_categories_are_dropped(column):
    assert len(label_colors(column, ["gray", "blue", "green"])) == 0


@pytest.mark.parametrize("label", [12, 12.0, "12"])
def test_cluster_may_be_a_number_or_text(label):
    assert in_cluster(obs(), "stage", label).tolist() == [True, False, True, False, False, True]


def test_no_cluster_gives_none():
    assert in_cluster(obs(), "stage", "") is None


def test_unknown_cluster_is_refused():
    with pytest.raises(InputError, match="label 'd' in column 'clusters' .found: a, b, c"):
        in_cluster(obs(), "clusters", "d")
