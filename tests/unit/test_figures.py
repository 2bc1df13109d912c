"""Figures draw what the result holds, in the colours of the clusters, arrows on top, with the same bytes each time."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.patches import FancyArrowPatch
from matplotlib.quiver import Quiver
from PIL import Image
from scipy import sparse
from veloshard import figures
from veloshard.errors import InputError
from veloshard.figures.differential_kinetics import flagged_clusters, orthogonal_slope
from veloshard.figures.heatmap import running_mean, scaled_rows
from veloshard.figures.palette import with_palette
from veloshard.figures.style import chosen_palette, clusters_of
from veloshard.splicing import spliced_at, unspliced_at

STYLE = figures.Style(panel_size=2.0, dpi=50)
COLORS = ["#ff0000", "#00ff00", "#0000ff"]
NAMES = ["stem", "left", "right"]
CAPTIONS = Path(__file__).parents[2] / "workflow/report/figure.rst"


def made_up(n_cells=120, *, dynamical=True, clusters=True):
    """A result of cells that walk from left to right, with two fitted genes and one that is not."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 12, n_cells)
    alpha, beta, gamma, switch, scaling = 2.0, 0.5, 0.3, 6.0, 1.4
    on = time < switch
    u_switch, s_switch = unspliced_at(switch, 0, alpha, beta), spliced_at(switch, 0, 0, alpha, beta, gamma)
    u = np.where(on, unspliced_at(time, 0, alpha, beta), unspliced_at(np.abs(time - switch), u_switch, 0, beta))
    s = np.where(
        on,
        spliced_at(time, 0, 0, alpha, beta, gamma),
        spliced_at(np.abs(time - switch), s_switch, u_switch, 0, beta, gamma),
    )
    var = pd.DataFrame({"velocity_genes": [True, True, False]}, index=["GeneA", "GeneB", "Silent"])
    if dynamical:
        for name, value in {"alpha": alpha, "beta": beta / scaling, "gamma": gamma, "t_": switch}.items():
            var[f"fit_{name}"] = [value, value, np.nan]
        var["fit_scaling"] = [scaling, scaling, np.nan]
        var["fit_u0"] = var["fit_s0"] = [0.0, 0.0, np.nan]
        var["fit_likelihood"] = [0.3, 0.5, np.nan]
        if clusters:
            var["fit_diff_kinetics"], var["fit_pval_kinetics"] = ["left,right", "left", ""], [1e-4, 1e-9, np.nan]
    else:
        var["velocity_gamma"], var["velocity_r2"] = [0.8, 0.6, 0.0], [0.7, 0.9, -1.0]
    columns = np.column_stack([s, 2 * s, s])
    obs = pd.DataFrame(
        {
            "velocity_pseudotime": time / 12,
            "root_cells": np.exp(-time),
            "end_points": np.exp(time - 12),
            "velocity_confidence": rng.random(n_cells),
            "velocity_length": rng.random(n_cells) * 10,
            "initial_size_spliced": rng.uniform(800, 1200, n_cells),
            "initial_size_unspliced": rng.uniform(200, 300, n_cells),
            "n_genes": rng.integers(200, 400, n_cells),
            "unspliced_fraction": rng.uniform(0.1, 0.4, n_cells),
        },
        index=[f"cell{k}" for k in range(n_cells)],
    )
    params = {"embedding": "umap", "dataset": "liver", "method": "any"}
    uns = {"velocity_params": params}
    if clusters:
        obs["clusters"] = pd.Categorical(np.array(NAMES)[(time // 4.001).astype(int)], NAMES)
        params["clusters"], uns["clusters_colors"] = "clusters", np.array(COLORS)
        uns["paga"], uns["rank_velocity_genes"] = made_up_paga(), made_up_ranking()
    places = np.column_stack([time, np.sin(time / 3)]) + 0.2 * rng.normal(size=(n_cells, 2))
    return SimpleNamespace(
        obs=obs,
        var=var,
        uns=uns,
        obsm={"X_umap": places, "velocity_umap": np.tile([0.3, 0.02], (n_cells, 1))},
        layers={
            "Ms": columns,
            "Mu": np.column_stack([u * scaling, u, u]),
            "velocity": np.column_stack([np.cos(time), -np.ones(n_cells), np.full(n_cells, np.nan)]),
        },
    )


def made_up_paga():
    """stem goes over into left, left into right; entry [i, j] is from j to i, as scVelo stores it."""
    transitions = np.zeros((3, 3))
    transitions[1, 0], transitions[2, 1] = 0.2, 0.4
    connectivities = np.array([[0, 0.5, 0.3], [0.5, 0, 0.5], [0.3, 0.5, 0]])
    return {
        "connectivities": sparse.csr_matrix(connectivities),
        "transitions_confidence": sparse.csr_matrix(transitions),
        "groups": "clusters",
    }


def made_up_ranking():
    """Two genes a cluster, of which the second is not significant."""

    def table(first, second, kind):
        return np.rec.array([tuple(first), tuple(second)], dtype=[(name, kind) for name in NAMES])

    return {
        "names": table(["GeneA"] * 3, ["GeneB"] * 3, object),
        "scores": table([9.0, 5.0, 7.0], [2.0, 1.0, 3.0], float),
        "pvals": table([1e-6] * 3, [0.1] * 3, float),
        "pvals_adj": table([1e-5] * 3, [0.2] * 3, float),
    }


def drawn(name, result, **options):
    return figures.load(name)(result, style=STYLE, **options)


def cells_of(figure):
    """The points of the first panel, from bottom to top."""
    return [artist for artist in figure.axes[0].collections if isinstance(artist, PathCollection)]


@pytest.fixture(params=figures.names())
def name(request):
    return request.param


@pytest.mark.parametrize(("dynamical", "clusters"), [(True, True), (False, False)])
def test_every_figure_is_the_same_bytes_twice(name, tmp_path, dynamical, clusters):
    for suffix in (".png", ".pdf"):
        both = []
        for attempt in (1, 2):
            path = tmp_path / f"{attempt}{suffix}"
            figures.save(drawn(name, made_up(dynamical=dynamical, clusters=clusters)), path, 50)
            both.append(path.read_bytes())
        assert both[0] == both[1]
        assert len(both[0]) > 1000


def test_the_users_own_settings_of_matplotlib_change_nothing_and_stay(name, tmp_path):
    figures.save(drawn(name, made_up()), tmp_path / "plain.png", 50)
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "pink", "savefig.dpi": 9}):
        before = {key: mpl.rcParams[key] for key in mpl.rcParams}
        figures.save(drawn(name, made_up()), tmp_path / "theirs.png", 50)
        assert {key: mpl.rcParams[key] for key in mpl.rcParams} == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


@pytest.mark.parametrize("figure", ["stream", "grid", "arrows"])
def test_arrows_lie_on_top_of_the_cells(figure):
    picture = drawn(figure, made_up())
    axes, cells = picture.axes[0], cells_of(picture)
    arrows = [artist for artist in axes.collections if isinstance(artist, LineCollection | Quiver)] + list(axes.patches)
    assert cells
    assert arrows
    assert min(artist.zorder for artist in arrows) > max(artist.zorder for artist in cells)


def test_arrows_point_where_the_velocities_do():
    (quiver,) = (artist for artist in drawn("grid", made_up()).axes[0].collections if isinstance(artist, Quiver))
    assert (quiver.U > 0).all()
    np.testing.assert_allclose(quiver.V / quiver.U, 0.02 / 0.3, rtol=1e-6)


def test_cells_and_legend_have_the_colors_of_the_data():
    result = made_up()
    figure = drawn("stream", result)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == NAMES
    assert [to_hex(handle.get_color()) for handle in legend.legend_handles] == COLORS
    colors = {to_hex(color) for artist in cells_of(figure) for color in artist.get_facecolors()}
    assert colors == set(COLORS)


def test_cells_without_a_cluster_are_grey_and_underneath():
    result = made_up()
    result.obs.loc[result.obs.index[:10], "clusters"] = np.nan
    below, above = [
        artist for artist in drawn("stream", result).axes[0].collections if isinstance(artist, PathCollection)
    ]
    assert len(below.get_offsets()) == 10
    assert below.zorder < above.zorder


@pytest.mark.parametrize("n_clusters", [1, 8, 9, 20, 45])
def test_any_number_of_clusters_has_colors_of_their_own(n_clusters):
    assert len({to_rgba(color) for color in chosen_palette(n_clusters)}) == n_clusters


def test_a_palette_that_is_too_short_is_refused():
    with pytest.raises(InputError, match="2 colours for 3 clusters"):
        figures.load("stream")(made_up(), style=STYLE._replace(palette=("red", "blue")))


def test_the_curve_is_that_of_the_fit():
    # the cells of GeneA are on its curve without noise, so that the drawn lines pass through them
    figure = drawn("phase_portraits", made_up(n_cells=400), genes=["GeneA"])
    axes = figure.axes[0]
    cells = np.asarray(axes.collections[0].get_offsets())
    lines = np.vstack([line.get_xydata() for line in axes.lines if len(line.get_xydata()) > 10])
    spans = np.ptp(cells, axis=0)
    distance = np.linalg.norm((cells[:, None] - lines) / spans, axis=2).min(axis=1)
    # half the distance between two points of the drawn curve
    assert distance.max() < 0.02


def test_the_best_fitted_velocity_genes_are_drawn():
    titles = [axes.get_title() for axes in drawn("phase_portraits", made_up(), n_genes=8).axes]
    assert [title.split("\n")[0] for title in titles] == ["GeneB", "GeneA"]
    assert "0.50" in titles[0]


def test_the_line_of_a_linear_method_has_its_slope():
    axes = drawn("phase_portraits", made_up(dynamical=False), genes=["GeneB"]).axes[0]
    slopes = [line.get_slope() if hasattr(line, "get_slope") else None for line in axes.lines]
    drawn_slopes = [slope for slope in slopes if slope is not None] or [
        np.diff(line.get_ydata())[0] / np.diff(line.get_xdata())[0] for line in axes.lines
    ]
    assert any(slope == pytest.approx(0.6) for slope in drawn_slopes)


def test_text_has_the_font_that_is_asked_for():
    figure = figures.load("stream")(made_up(), style=STYLE._replace(font="DejaVu Serif"))
    assert figure.axes[0].xaxis.label.get_family() == ["DejaVu Serif"]


def test_a_font_that_is_not_there_is_told_of_once_and_replaced(caplog):
    for _ in range(2):
        figure = figures.load("stream")(made_up(), style=STYLE._replace(font="No Such Font"))
    assert figure.axes[0].xaxis.label.get_family() == ["DejaVu Sans"]
    assert [record.getMessage() for record in caplog.records] == [
        "there is no font 'No Such Font' on this machine: DejaVu Sans instead"
    ]


def test_of_named_genes_those_are_drawn_that_a_dataset_has():
    figure = drawn("phase_portraits", made_up(), genes=["GeneA", "of another dataset"])
    assert [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()] == ["GeneA"]


def test_unknown_genes_alone_are_refused_with_a_guess():
    with pytest.raises(InputError, match="'GenA'.*did you mean 'GeneA'"):
        drawn("phase_portraits", made_up(), genes=["GenA"])


@pytest.mark.parametrize(
    ("figure", "spoil", "words"),
    [
        ("stream", lambda result: result.obsm.pop("X_umap"), "X_umap"),
        ("stream", lambda result: result.obsm.pop("velocity_umap"), "velocity_umap"),
        ("stream", lambda result: result.uns["velocity_params"].pop("embedding"), "names no embedding"),
        ("stream", lambda result: result.obs.pop("clusters"), "no column 'clusters'"),
        ("latent_time", lambda result: result.obs.pop("velocity_pseudotime"), "velocity_pseudotime"),
        ("confidence", lambda result: result.obs.pop("velocity_length"), "velocity_length"),
        ("proportions", lambda result: result.obs.pop("initial_size_spliced"), "initial_size_spliced"),
        ("terminal_states", lambda result: result.obs.pop("end_points"), "lacks end_points"),
        ("heatmap", lambda result: result.obs.pop("velocity_pseudotime"), "velocity_pseudotime"),
        ("genes", lambda result: result.layers.pop("velocity"), "no layer 'velocity'"),
        ("paga", lambda result: result.uns.pop("paga"), "no uns\\['paga'\\]"),
        ("paga", lambda result: result.uns["paga"].pop("connectivities"), "lacks connectivities"),
        ("ranking", lambda result: result.uns["rank_velocity_genes"].pop("pvals_adj"), "lacks pvals_adj"),
    ],
)
def test_what_is_missing_is_named(figure, spoil, words):
    result = made_up()
    spoil(result)
    with pytest.raises(InputError, match=words):
        drawn(figure, result)


def test_latent_time_is_preferred_to_pseudotime():
    result = made_up()
    assert "pseudotime" in drawn("latent_time", result).get_suptitle()
    result.obs["latent_time"] = result.obs["velocity_pseudotime"]
    assert "Latent time" in drawn("latent_time", result).get_suptitle()


@pytest.mark.parametrize("figure", ["stream", "grid", "arrows"])
def test_cells_at_rest_or_without_a_velocity_can_be_drawn(figure, tmp_path):
    result = made_up()
    result.obsm["velocity_umap"][:40] = 0
    result.obsm["velocity_umap"][40:50] = np.nan
    figures.save(drawn(figure, result), tmp_path / "figure.pdf", 50)
    result.obsm["velocity_umap"][:] = 0
    figures.save(drawn(figure, result), tmp_path / "figure.pdf", 50)


def words_of(figure):
    return " ".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize(
    ("figure", "spoil", "words"),
    [
        ("paga", lambda result: result.uns["velocity_params"].pop("clusters"), "has no clusters"),
        ("ranking", lambda result: result.uns["velocity_params"].pop("clusters"), "has no clusters"),
        ("ranking", lambda result: result.uns.pop("rank_velocity_genes"), "no cluster could be compared"),
        ("differential_kinetics", lambda result: result.var.pop("fit_diff_kinetics"), "needs clusters and a method"),
        ("differential_kinetics", lambda result: result.var.__setitem__("fit_diff_kinetics", ""), "No gene"),
        ("heatmap", lambda result: result.obs.__setitem__("velocity_pseudotime", np.nan), "no cell has a time"),
        ("heatmap", lambda result: result.var.__setitem__("velocity_genes", False), "no gene has a velocity"),
        ("genes", lambda result: result.var.__setitem__("velocity_genes", False), "No gene has a velocity"),
        ("likelihood", lambda result: result.var.pop("fit_likelihood"), "does not say how well"),
    ],
)
def test_what_a_result_need_not_have_is_said_in_words(figure, spoil, words):
    result = made_up()
    spoil(result)
    assert words in words_of(drawn(figure, result))


def test_an_unknown_figure_is_refused_with_a_guess():
    with pytest.raises(InputError, match="did you mean 'stream'"):
        figures.load("streem")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match="figure.bmp: the suffix must be one of .png, .pdf, .svg"):
        figures.save(drawn("stream", made_up()), tmp_path / "figure.bmp", 50)


def test_velocities_have_colours_that_are_symmetric_about_zero():
    result = made_up()
    # far more growth than decay, and a cell far out
    result.layers["velocity"][:, 0] = np.linspace(-1, 10, len(result.obs))
    result.layers["velocity"][0, 0] = -500
    colourbar = next(axes for axes in drawn("genes", result, genes=["GeneA"]).axes if axes.get_ylabel() == "velocity")
    low, high = colourbar.get_ylim()
    assert low == -high
    assert 9 < high < 11


def test_a_gene_without_a_fit_can_be_drawn():
    figure = drawn("genes", made_up(), genes=["Silent"])
    assert figure.axes[0].get_title() == "Silent, not fitted"
    # no colourbar for velocities that are not there
    assert "velocity" not in {axes.get_ylabel() for axes in figure.axes}


def test_a_running_mean_is_that_of_the_values_around():
    values = np.random.default_rng(0).normal(size=40)
    means = running_mean(values, 5)
    for k in range(40):
        assert means[k] == pytest.approx(values[max(0, k - 2) : k + 3].mean())
    np.testing.assert_allclose(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(np.ones(3), 3), 1)


def test_rows_are_scaled_each_on_its_own():
    scaled = scaled_rows([[1.0, 3.0, 2.0], [-10.0, 0.0, 10.0], [4.0, 4.0, 4.0]])
    np.testing.assert_allclose(scaled, [[0, 1, 0.5], [0, 0.5, 1], [0, 0, 0]])


def test_genes_of_the_heatmap_are_in_the_order_of_their_peaks():
    result = made_up()
    time = result.obs["velocity_pseudotime"].to_numpy()
    result.layers["Ms"] = np.column_stack([np.exp(-((time - place) ** 2) / 0.02) for place in (0.8, 0.3, 0.5)])
    # neither the order of cells in the file nor cells without a time may matter
    result.obs.loc[result.obs.index[::7], "velocity_pseudotime"] = np.nan
    shuffled = np.random.default_rng(1).permutation(len(time))
    result.obs, result.layers["Ms"] = result.obs.iloc[shuffled], result.layers["Ms"][shuffled]
    axes = next(axes for axes in drawn("heatmap", result).axes if axes.images)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["GeneB", "GeneA"]
    values = np.asarray(axes.images[0].get_array())
    assert values.shape[1] == np.isfinite(result.obs["velocity_pseudotime"]).sum()
    # a running mean of 10 of 102 cells moves a peak by no more than its width
    np.testing.assert_allclose(values.argmax(axis=1) / values.shape[1], [0.3, 0.8], atol=0.05)
    assert "running mean of 10 cells" in axes.get_xlabel()


def test_the_strip_above_the_heatmap_adds_up_to_all_cells():
    strip = drawn("heatmap", made_up()).axes[0]
    top = np.max([path.vertices[:, 1].max() for band in strip.collections for path in band.get_paths()])
    assert top == pytest.approx(1)
    assert [to_hex(band.get_facecolor()[0]) for band in strip.collections] == COLORS


def test_arrows_between_clusters_go_the_way_of_the_transitions():
    result = made_up()
    middles = [np.median(result.obsm["X_umap"][result.obs["clusters"] == name], axis=0) for name in NAMES]
    axes = drawn("paga", result).axes[0]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    ends = [arrow._posA_posB for arrow in arrows]
    np.testing.assert_allclose(ends, [[middles[0], middles[1]], [middles[1], middles[2]]])
    # the surer transition is wider; only the pair without a transition is joined by a dashed line
    assert arrows[0].get_linewidth() < arrows[1].get_linewidth()
    (dashed,) = axes.lines
    np.testing.assert_allclose(dashed.get_xydata(), [middles[0], middles[2]])


def test_nodes_have_areas_by_their_cells():
    result = made_up()
    result.obs["clusters"] = pd.Categorical(["stem"] * 60 + ["left"] * 36 + ["right"] * 24, NAMES)
    nodes = drawn("paga", result).axes[0].collections[-1]
    sizes = nodes.get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], [1, 36 / 60, 24 / 60])


def test_a_graph_of_other_clusters_is_refused():
    result = made_up()
    result.obs["clusters"] = pd.Categorical(np.array([*NAMES, "new"])[np.arange(120) % 4])
    with pytest.raises(InputError, match="of 3 clusters, but the cells have 4"):
        drawn("paga", result)


def test_clusters_without_cells_are_no_nodes():
    result = made_up()
    result.obs["clusters"] = pd.Categorical(np.where(result.obs["clusters"] == "right", "right", "stem"), NAMES)
    axes = drawn("paga", result).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    # both transitions had been by way of the cluster that is empty
    assert not [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    # the same where the graph leaves that cluster out
    transitions = np.array([[0, 0], [0.3, 0]])
    result.uns["paga"] = {"connectivities": transitions + transitions.T, "transitions_confidence": transitions}
    (arrow,) = drawn("paga", result).axes[0].patches
    middles = [np.median(result.obsm["X_umap"][result.obs["clusters"] == name], axis=0) for name in ("stem", "right")]
    np.testing.assert_allclose(arrow._posA_posB, middles)


def test_scores_are_drawn_with_marks_for_the_significant():
    figure = drawn("ranking", made_up(), n_genes=2)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == NAMES
    for axes, (first, second), color in zip(panels, [(9, 2), (5, 1), (7, 3)], COLORS, strict=True):
        significant, other = cells_of(SimpleNamespace(axes=[axes]))
        np.testing.assert_allclose(significant.get_offsets(), [[first, 0]])
        np.testing.assert_allclose(other.get_offsets(), [[second, 1]])
        assert to_hex(significant.get_facecolor()[0]) == color
        assert to_hex(other.get_facecolor()[0]) == "#ffffff"
        assert axes.get_xlim() == panels[0].get_xlim()


def test_the_orthogonal_line_is_the_first_principal_axis_through_the_origin():
    rng = np.random.default_rng(3)
    spliced = rng.uniform(0.5, 3, 200)
    unspliced = np.abs(0.4 * spliced + 0.1 * rng.normal(size=200))
    axis = np.linalg.svd(np.column_stack([spliced, unspliced]), full_matrices=False)[2][0]
    assert orthogonal_slope(spliced, unspliced) == pytest.approx(axis[1] / axis[0])
    # cells without one of the two are left out
    assert orthogonal_slope(np.append(spliced, 5.0), np.append(unspliced, 0.0)) == pytest.approx(axis[1] / axis[0])
    assert np.isnan(orthogonal_slope(np.zeros(3), np.ones(3)))


def test_flagged_clusters_have_their_colours_and_lines_and_others_are_grey():
    result = made_up()
    figure = drawn("differential_kinetics", result)
    # the most significant gene comes first
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["GeneB", "GeneA"]
    first = figure.axes[0]
    below, above = cells_of(figure)
    assert {to_hex(color) for color in below.get_facecolors()} == {"#dadada"}
    assert {to_hex(color) for color in above.get_facecolors()} == {COLORS[1]}
    theirs = (result.obs["clusters"] == "left").to_numpy()
    scaling = result.var.loc["GeneB", "fit_scaling"]
    slope = scaling * orthogonal_slope(result.layers["Ms"][theirs, 1], result.layers["Mu"][theirs, 1] / scaling)
    (line,) = [line for line in first.lines if to_hex(line.get_color()) == COLORS[1]]
    assert line.get_slope() == pytest.approx(slope)
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= {"left", "right", "induction"}


def test_names_of_flagged_clusters_may_hold_commas():
    clusters = clusters_of(made_up(), STYLE)._replace(names=("B", "T, naive", "T", "naive"))
    assert flagged_clusters("B,T, naive", clusters).tolist() == [0, 1]
    assert flagged_clusters(np.nan, clusters).tolist() == []
    assert flagged_clusters("", clusters).tolist() == []


def test_parameters_count_velocity_genes_within_all():
    result = made_up()
    result.var = pd.concat([result.var.iloc[[0]]] * 30 + [result.var.iloc[[2]]] * 5, ignore_index=True)
    result.var["fit_alpha"] = [*np.geomspace(0.1, 10, 30), *[np.nan] * 5]
    result.var["velocity_genes"] = np.arange(35) % 3 == 0
    axes = next(axes for axes in drawn("parameters", result).axes if axes.get_xlabel() == "transcription rate α")
    heights = [patch.get_height() for patch in axes.patches]
    assert (sum(heights[:40]), sum(heights[40:])) == (30, 10)
    assert axes.get_xscale() == "log"


def test_likelihoods_fall_with_the_rank_and_the_best_are_named():
    result = made_up()
    result.var.loc["Silent", "fit_likelihood"] = 0.4
    figure = drawn("likelihood", result, n_genes=1)
    velocity_genes, others = cells_of(figure)
    np.testing.assert_allclose(velocity_genes.get_offsets(), [[1, 0.5], [3, 0.3]])
    np.testing.assert_allclose(others.get_offsets(), [[2, 0.4]])
    assert words_of(figure) == "GeneB"
    assert "lowest velocity gene: 0.3" in {text.get_text() for text in figure.legends[0].get_texts()}


@pytest.mark.parametrize("n_clusters", [1, 30])
def test_long_names_of_many_clusters_are_all_within_the_figure(name, n_clusters):
    result = made_up()
    names = [f"A long name of a cell type, number {k}" for k in range(n_clusters)]
    result.obs["clusters"] = pd.Categorical(np.array(names)[np.arange(120) % n_clusters], names)
    result.var["fit_diff_kinetics"] = ",".join(names)
    del result.uns["clusters_colors"]
    ring = np.roll(np.eye(n_clusters), 1, axis=0) if n_clusters > 1 else np.zeros((1, 1))
    result.uns["paga"] = {"connectivities": ring + ring.T, "transitions_confidence": 0.3 * ring}
    for key, table in result.uns["rank_velocity_genes"].items():
        column = table[NAMES[0]]
        result.uns["rank_velocity_genes"][key] = np.rec.fromarrays([column] * n_clusters, names=names)
    result.uns["velocity_params"]["dataset"] = "a_dataset_with_a_name_that_goes_on"
    figure = figures.load(name)(result, style=figures.Style())
    figure.canvas.draw()
    width, height = figure.bbox.size
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    # ticks beyond the limits are not drawn
    labels = [
        text
        for axes in figure.axes
        for text, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
        if min(axes.get_ylim()) <= place <= max(axes.get_ylim())
    ]
    for text in [figure._suptitle, *legends, *labels]:
        box = text.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


def test_an_embedding_in_single_precision_can_be_drawn(name):
    result = made_up()
    result.obsm = {key: values.astype(np.float32) for key, values in result.obsm.items()}
    drawn(name, result).canvas.draw()


def test_a_png_keeps_the_colours_of_areas_and_has_few(tmp_path):
    figures.save(drawn("paga", made_up()), tmp_path / "figure.png", 100)
    picture = Image.open(tmp_path / "figure.png")
    assert picture.mode == "P"
    colors = {tuple(color) for color in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert len(colors) <= 192
    assert colors >= {tuple(round(255 * channel) for channel in to_rgb(color)) for color in [*COLORS, "white"]}


def test_a_palette_gives_each_pixel_its_nearest_colour():
    rng = np.random.default_rng(5)
    pixels = np.vstack([np.tile([255, 255, 255], (3000, 1)), rng.integers(0, 256, (1000, 3))]).astype(np.uint8)
    reduced = with_palette(Image.fromarray(pixels.reshape(40, 100, 3)))
    palette = np.reshape(reduced.getpalette(), (-1, 3))[: np.asarray(reduced).max() + 1]
    chosen = np.asarray(reduced.convert("RGB")).reshape(-1, 3).astype(int)
    distance = np.linalg.norm(chosen - pixels.astype(int), axis=1)
    least = np.linalg.norm(palette[:, None] - pixels.astype(int), axis=2).min(axis=0)
    np.testing.assert_allclose(distance, least)
    assert (chosen[:3000] == 255).all()
    # a colour of few pixels stays where it is asked for
    rare = pixels[-1].tolist()
    kept = with_palette(Image.fromarray(pixels.reshape(40, 100, 3)), kept=[rare])
    assert np.asarray(kept.convert("RGB"))[-1, -1].tolist() == rare


def test_every_figure_has_a_caption(name):
    branch = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0]
    assert "{{ dataset }}" in branch
    assert 2 <= branch.count(". ") + branch.count(".\n") <= 8
