"""Tables and figures of all methods together: numbers that are known, and nothing made up where there is none."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from veloshard import figures, store
from veloshard.agreement import ORDERS, Agreement
from veloshard.comparison import Compared, pair_row
from veloshard.errors import InputError
from veloshard.figures.comparison.agreement import MEASURES, matrix_of

STYLE = figures.Style(panel_size=2.0, dpi=50)
CAPTIONS = Path(__file__).parents[2] / "workflow/report/comparison_figure.rst"


def test_a_pair_is_told_by_medians_of_what_is_known():
    found = Agreement(
        cosines=np.array([0.0, 1.0, 0.5, np.nan, 0.25, 0.75]),
        ranks_of_genes=np.array([0.1, 0.3]),
        ranks_of_cells=np.array([np.nan, -0.5]),
        signs=np.array([np.nan, 0.7]),
    )
    row = pair_row("a", "b", found, {}, {})
    assert (row["method"], row["other"], row["genes"]) == ("a", "b", 2)
    assert [row[f"cosine{part}"] for part in ("_lower_quartile", "", "_upper_quartile")] == [0.25, 0.5, 0.75]
    assert [row["rank_of_genes"], row["rank_of_cells"], row["sign"]] == pytest.approx([0.2, -0.5, 0.7])
    # no order in common
    assert np.isnan([row[name] for name in (*ORDERS, "end_cells")]).all()


def test_a_truth_without_velocities_tells_of_the_time():
    time = np.linspace(0, 1, 9)
    row = pair_row("a", "(truth)", None, {"latent_time": time}, dict.fromkeys(ORDERS, -time))
    assert row["genes"] == 0
    assert np.isnan(row["cosine"])
    assert row["latent_time"] == pytest.approx(-1)
    assert np.isnan(row["velocity_pseudotime"])


def simulation(path, layer):
    """A file of 4 cells and 3 genes with a layer of velocities 0 ... 11, and some of their names in another order."""
    with h5py.File(path, "w") as file:
        for table, names in {"obs": ["c0", "c1", "c2", "c3"], "var": ["g0", "g1", "g2"]}.items():
            file.create_group(table).attrs["_index"] = "_index"
            file[table]["_index"] = names
        file[f"layers/{layer}"] = np.arange(12.0).reshape(4, 3)
    return SimpleNamespace(cells=np.array(["c3", "c1"]), genes=np.array(["g2", "new", "g0"]))


def test_true_velocities_are_those_of_the_cells_and_genes_that_are_kept(tmp_path):
    kept = simulation(tmp_path / "s.h5ad", "true_velocity")
    known, read = store.load_truth(tmp_path / "s.h5ad", kept)
    assert known.tolist() == [True, False, True]
    np.testing.assert_array_equal(read(np.array([0, 2])), [[11, 5], [9, 3]])
    assert read(np.array([2])).dtype == np.float32


def test_a_file_without_true_velocities_has_none_and_one_of_other_cells_is_refused(tmp_path):
    kept = simulation(tmp_path / "s.h5ad", "spliced")
    assert store.load_truth(tmp_path / "s.h5ad", kept) is None
    kept = simulation(tmp_path / "s.h5ad", "true_velocity")
    with pytest.raises(InputError, match="lacks 1 of 2 cells"):
        store.load_truth(tmp_path / "s.h5ad", SimpleNamespace(cells=np.array(["c1", "x"]), genes=kept.genes))


def made_up(*, n_methods=3, truth=True):
    """A comparison of methods m0, m1 and so on; the measures of a pair are a tenth of the sum of the two numbers."""
    names = [f"m{number}" for number in range(n_methods)] + ["(truth)"] * truth
    rows = [
        {"method": names[i], "other": names[j], **dict.fromkeys(MEASURES, (i + j) / 10)}
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    rng = np.random.default_rng(0)
    columns = ["(all)", *names[:n_methods], *(f"{name} (truth)" for name in names[:n_methods] if truth)]
    return Compared(
        pairs=pd.DataFrame(rows),
        obs=pd.DataFrame({column: rng.uniform(-1, 1, 40) for column in columns}),
        obsm={"X_umap": rng.normal(size=(40, 2))},
        uns={"velocity_params": {"dataset": "liver", "embedding": "umap"}},
    )


@pytest.fixture(params=figures.names("comparison"))
def name(request):
    return request.param


def drawn(name, compared):
    return figures.load(name, "comparison")(compared, style=STYLE)


@pytest.mark.parametrize(("n_methods", "truth"), [(2, False), (3, True)])
def test_every_figure_of_a_comparison_is_the_same_bytes_twice(name, tmp_path, n_methods, truth):
    for suffix in (".png", ".pdf"):
        both = []
        for attempt in (1, 2):
            path = tmp_path / f"{attempt}{suffix}"
            figures.save(drawn(name, made_up(n_methods=n_methods, truth=truth)), path, 50)
            both.append(path.read_bytes())
        assert both[0] == both[1]
        assert len(both[0]) > 1000


def test_the_users_own_settings_of_matplotlib_change_nothing(name, tmp_path):
    figures.save(drawn(name, made_up()), tmp_path / "plain.png", 50)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "pink", "savefig.dpi": 9}):
        figures.save(drawn(name, made_up()), tmp_path / "theirs.png", 50)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_every_figure_of_a_comparison_has_a_caption(name):
    branch = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0]
    assert "{{ dataset }}" in branch
    assert 2 <= branch.count(". ") + branch.count(".\n") <= 8


def test_figures_of_a_result_are_not_those_of_a_comparison():
    assert set(figures.names()).isdisjoint(figures.names("comparison"))
    assert "comparison" not in figures.names()


def test_a_matrix_has_each_pair_twice_and_no_diagonal():
    values = matrix_of(made_up().pairs, "cosine", ["m0", "m1", "m2", "(truth)"])
    np.testing.assert_allclose(values[0], [np.nan, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(values, values.T)


def test_measures_without_a_value_are_no_panels():
    compared = made_up()
    compared.pairs[["latent_time", "model_time"]] = np.nan
    titles = [axes.get_title() for axes in drawn("agreement", compared).axes if axes.images]
    assert len(titles) == len(MEASURES) - 2
    assert "latent time" not in titles
    compared.pairs[list(MEASURES)] = np.nan
    (axes,) = drawn("agreement", compared).axes
    assert "nothing to show" in axes.texts[0].get_text()


@pytest.mark.parametrize(("n_methods", "numbered"), [(11, True), (12, False)])
def test_pairs_have_numbers_where_there_is_room_for_them(n_methods, numbered):
    compared = made_up(n_methods=n_methods)
    compared.pairs[list(MEASURES)[1:]] = np.nan
    panel = next(axes for axes in drawn("agreement", compared).axes if axes.images)
    assert bool(panel.texts) == numbered


def test_cells_are_coloured_by_all_methods_by_each_and_by_the_truth():
    def panels(compared):
        labels = [axes.get_ylabel() for axes in drawn("agreement_of_cells", compared).axes]
        return [label for label in labels if label not in ("", "UMAP 2")]

    assert panels(made_up()) == [
        "all methods", "m0 with the others", "m1 with the others", "m2 with the others",
        "m0 with the truth", "m1 with the truth", "m2 with the truth",
    ]  # fmt: skip
    # of two methods what each has in common with the other is the same
    assert panels(made_up(n_methods=2)) == ["all methods", "m0 with the truth", "m1 with the truth"]
