"""Tables and figures of a comparison of methods."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from veloshard import plotting
from veloshard.errors import InputError
from veloshard.evaluation.agreement import PSEUDOTIMES, Agreement
from veloshard.evaluation.comparison import Comparison, pair_row
from veloshard.io.prepared import load_true_velocity
from veloshard.plotting.comparison.agreement import MEASURES, matrix_of

STYLE = plotting.Style(panel_size=2.0, dpi=50)
CAPTIONS = Path(__file__).parents[3] / "workflow/report/comparison_figure.rst"


def test_the_row_of_a_pair_has_medians_of_the_finite_values():
    agreement = Agreement(
        cosines=np.array([0.0, 1.0, 0.5, np.nan, 0.25, 0.75]),
        ranks_of_genes=np.array([0.1, 0.3]),
        ranks_of_cells=np.array([np.nan, -0.5]),
        signs=np.array([np.nan, 0.7]),
    )
    row = pair_row("a", "b", agreement, {}, {})
    assert (row["method"], row["other"], row["genes"]) == ("a", "b", 2)
    assert [row[f"cosine{part}"] for part in ("_lower_quartile", "", "_upper_quartile")] == [0.25, 0.5, 0.75]
    assert [row["rank_of_genes"], row["rank_of_cells"], row["sign"]] == pytest.approx([0.2, -0.5, 0.7])
    # the methods have no pseudotime in common
    assert np.isnan([row[name] for name in (*PSEUDOTIMES, "end_cells")]).all()


def test_a_truth_without_velocities_is_compared_by_pseudotime():
    time = np.linspace(0, 1, 9)
    row = pair_row("a", "(truth)", None, {"latent_time": time}, dict.fromkeys(PSEUDOTIMES, -time))
    assert row["genes"] == 0
    assert np.isnan(row["cosine"])
    assert row["latent_time"] == pytest.approx(-1)
    assert np.isnan(row["velocity_pseudotime"])


def write_simulation(path, layer):
    """Write a file of 4 cells and 3 genes with velocities 0, ..., 11, and return cells and genes to read."""
    with h5py.File(path, "w") as file:
        for table, names in {"obs": ["c0", "c1", "c2", "c3"], "var": ["g0", "g1", "g2"]}.items():
            file.create_group(table).attrs["_index"] = "_index"
            file[table]["_index"] = names
        file[f"layers/{layer}"] = np.arange(12.0).reshape(4, 3)
    return SimpleNamespace(cells=np.array(["c3", "c1"]), genes=np.array(["g2", "new", "g0"]))


def test_true_velocities_are_read_for_the_cells_and_genes_of_the_dataset(tmp_path):
    dataset = write_simulation(tmp_path / "s.h5ad", "true_velocity")
    has_velocity, read = load_true_velocity(tmp_path / "s.h5ad", dataset)
    assert has_velocity.tolist() == [True, False, True]
    np.testing.assert_array_equal(read(np.array([0, 2])), [[11, 5], [9, 3]])
    assert read(np.array([2])).dtype == np.float32


def test_a_file_without_true_velocities_gives_none_and_one_without_the_cells_raises_an_error(tmp_path):
    dataset = write_simulation(tmp_path / "s.h5ad", "spliced")
    assert load_true_velocity(tmp_path / "s.h5ad", dataset) is None
    dataset = write_simulation(tmp_path / "s.h5ad", "true_velocity")
    with pytest.raises(InputError, match="lacks 1 of 2 cells"):
        load_true_velocity(tmp_path / "s.h5ad", SimpleNamespace(cells=np.array(["c1", "x"]), genes=dataset.genes))


def simulated_comparison(*, n_methods=3, truth=True):
    """Return a comparison of methods m0, m1, ..., where the measures of a pair are the sum of both numbers over 10."""
    names = [f"m{number}" for number in range(n_methods)] + ["(truth)"] * truth
    rows = [
        {"method": names[i], "other": names[j], **dict.fromkeys(MEASURES, (i + j) / 10)}
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    rng = np.random.default_rng(0)
    columns = ["(all)", *names[:n_methods], *(f"{name} (truth)" for name in names[:n_methods] if truth)]
    return Comparison(
        pairs=pd.DataFrame(rows),
        obs=pd.DataFrame({column: rng.uniform(-1, 1, 40) for column in columns}),
        obsm={"X_umap": rng.normal(size=(40, 2))},
        uns={"velocity_params": {"dataset": "liver", "embedding": "umap"}},
    )


@pytest.fixture(params=plotting.names("comparison"))
def name(request):
    return request.param


def draw(name, comparison):
    return plotting.load(name, "comparison")(comparison, style=STYLE)


@pytest.mark.parametrize(("n_methods", "truth"), [(2, False), (3, True)])
def test_figures_of_a_comparison_are_bitwise_identical_in_every_run(name, tmp_path, n_methods, truth):
    for suffix in (".png", ".pdf"):
        files = []
        for attempt in (1, 2):
            path = tmp_path / f"{attempt}{suffix}"
            plotting.save(draw(name, simulated_comparison(n_methods=n_methods, truth=truth)), path, 50)
            files.append(path.read_bytes())
        assert files[0] == files[1]
        assert len(files[0]) > 1000


def test_figures_do_not_depend_on_the_settings_of_matplotlib(name, tmp_path):
    plotting.save(draw(name, simulated_comparison()), tmp_path / "default.png", 50)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "pink", "savefig.dpi": 9}):
        plotting.save(draw(name, simulated_comparison()), tmp_path / "changed.png", 50)
    assert (tmp_path / "default.png").read_bytes() == (tmp_path / "changed.png").read_bytes()


def test_figures_of_a_comparison_have_a_caption(name):
    caption = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0]
    assert "{{ dataset }}" in caption
    assert 2 <= caption.count(". ") + caption.count(".\n") <= 8


def test_figures_of_a_result_and_of_a_comparison_have_different_names():
    assert set(plotting.names()).isdisjoint(plotting.names("comparison"))


def test_the_matrix_of_a_measure_is_symmetric_without_a_diagonal():
    values = matrix_of(simulated_comparison().pairs, "cosine", ["m0", "m1", "m2", "(truth)"])
    np.testing.assert_allclose(values[0], [np.nan, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(values, values.T)


def test_measures_without_values_have_no_panel():
    comparison = simulated_comparison()
    comparison.pairs[["latent_time", "model_time"]] = np.nan
    titles = [axes.get_title() for axes in draw("agreement", comparison).axes if axes.images]
    assert len(titles) == len(MEASURES) - 2
    assert "latent time" not in titles
    comparison.pairs[list(MEASURES)] = np.nan
    (axes,) = draw("agreement", comparison).axes
    assert "No two methods can be compared" in axes.texts[0].get_text()


@pytest.mark.parametrize(("n_methods", "has_numbers"), [(11, True), (12, False)])
def test_numbers_are_written_for_up_to_eleven_methods_and_the_truth(n_methods, has_numbers):
    comparison = simulated_comparison(n_methods=n_methods)
    comparison.pairs[list(MEASURES)[1:]] = np.nan
    panel = next(axes for axes in draw("agreement", comparison).axes if axes.images)
    assert bool(panel.texts) == has_numbers


def test_cells_have_panels_for_all_methods_each_method_and_the_truth():
    def panel_titles(comparison):
        return [axes.get_title() for axes in draw("cell_agreement", comparison).axes if axes.get_title()]

    assert panel_titles(simulated_comparison()) == [
        "all methods", "m0 with the others", "m1 with the others", "m2 with the others",
        "m0 with the truth", "m1 with the truth", "m2 with the truth",
    ]  # fmt: skip
    # the pair of two methods is the same for both, and has one panel
    assert panel_titles(simulated_comparison(n_methods=2)) == ["all methods", "m0 with the truth", "m1 with the truth"]
