import numpy as np
import pandas as pd
import pytest
from veloshard import selection
from veloshard.errors import InputError


def obs():
    """Annotations of six cells, one without a stage."""
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
def test_any_annotation_becomes_labels_of_text(values, labels, categories):
    found = selection.as_labels(pd.Series(values))
    assert found.tolist() == labels
    assert list(found.cat.categories) == categories


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"keep": {"clusters": ["a", "c"]}}, [1, 1, 0, 0, 1, 1]),
        ({"keep": {"stage": [12]}}, [1, 0, 1, 0, 0, 1]),
        ({"keep": {"clusters": ["a", "b"], "stage": ["35"]}}, [0, 1, 0, 1, 0, 0]),
        ({"drop": {"stage": [35]}}, [1, 0, 1, 0, 1, 1]),
        ({"keep": {"stage": [12]}, "drop": {"clusters": ["c"], "sick": [False]}}, [1, 0, 1, 0, 0, 0]),
    ],
)
def test_cells_stay_by_all_that_is_kept_and_nothing_that_is_dropped(options, stay):
    np.testing.assert_array_equal(selection.cells_to_keep(obs(), dataset="d", **options), np.array(stay, bool))


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        ({}, [1, 1, 1, 1]),
        ({"exclude": ["Ins1"]}, [0, 1, 1, 1]),
        ({"exclude_pattern": "^mt-"}, [1, 0, 0, 1]),
        ({"exclude": ["Ins1"], "exclude_pattern": "^mt-"}, [0, 0, 0, 1]),
    ],
)
def test_genes_are_excluded_by_name_and_by_pattern(options, stay):
    names = pd.Index(["Ins1", "mt-Nd1", "mt-Co1", "Amt-x"])
    np.testing.assert_array_equal(selection.genes_to_keep(names, dataset="d", **options), np.array(stay, bool))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"keep": {"cluster": ["a"]}},
            ["no column 'cluster'", "did you mean 'clusters'?", "datasets.liver.cells.keep"],
        ),
        ({"drop": {"stage": [13]}}, ["stage '13'", "found: 12, 35", "datasets.liver.cells.drop.stage"]),
        ({"keep": {"clusters": ["a"], "stage": [35]}}, ["1 of 6 cells stay", "datasets.liver.cells"]),
    ],
)
def test_a_wrong_choice_of_cells_is_refused(options, said):
    with pytest.raises(InputError) as caught:
        selection.cells_to_keep(obs(), dataset="liver", **options)
    for part in ["dataset 'liver'", *said]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exclude": ["Ins2", "Gcg"]}, ["1 of the genes", "Ins2", "did you mean 'Ins1'?", "genes.exclude"]),
        (
            {"exclude_pattern": "mt-("},
            ["no regular expression", "'^mt-'", "datasets.liver.genes.exclude_pattern"],
        ),
        ({"exclude_pattern": "."}, ["all 2 genes are excluded", "datasets.liver.genes"]),
    ],
)
def test_a_wrong_choice_of_genes_is_refused(options, said):
    with pytest.raises(InputError) as caught:
        selection.genes_to_keep(pd.Index(["Ins1", "Gcg"]), dataset="liver", **options)
    for part in ["dataset 'liver'", *said]:
        assert part in str(caught.value)


def test_colors_keep_to_their_labels():
    column = pd.Series(pd.Categorical(["b", "nan", "a"], ["nan", "b", "c", "a"]))
    colors = selection.labelled_colors(column, ["grey", "blue", "green", "red"])
    assert list(colors) == ["blue", "red"]
    assert list(selection.as_labels(column).cat.categories) == ["b", "a"]


@pytest.mark.parametrize("column", [pd.Series(["b", "a"]), pd.Series(pd.Categorical(["b", "a"]))])
def test_colors_of_other_categories_are_none(column):
    assert len(selection.labelled_colors(column, ["grey", "blue", "green"])) == 0


@pytest.mark.parametrize("label", [12, 12.0, "12"])
def test_cells_of_a_cluster_are_found_by_number_or_text(label):
    assert selection.in_cluster(obs(), "stage", label).tolist() == [True, False, True, False, False, True]


def test_no_cluster_is_no_selection():
    assert selection.in_cluster(obs(), "stage", "") is None


def test_a_cluster_that_no_cell_is_in_is_refused():
    with pytest.raises(InputError, match="label 'd' in column 'clusters' .found: a, b, c"):
        selection.in_cluster(obs(), "clusters", "d")
