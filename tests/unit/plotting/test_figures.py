"""Figures of a result: content, colors, order of layers, messages, errors and reproducible bytes."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import FancyArrowPatch
from matplotlib.quiver import Quiver
from PIL import Image
from support.results import CLUSTERS, COLORS, simulated_result
from veloshard import plotting
from veloshard.errors import InputError
from veloshard.output.cluster_colors import clusters_of, distinct_colors
from veloshard.plotting._shared.style import settings
from veloshard.plotting.result.differential_kinetics import flagged_clusters, orthogonal_slope
from veloshard.plotting.result.heatmap import running_mean, scale_rows

STYLE = plotting.Style(panel_size=2.0, dpi=50)
CAPTIONS = Path(__file__).parents[3] / "workflow/report/figure.rst"


def draw_figure(name, result, **options):
    return plotting.load(name)(result, style=STYLE, **options)


def points_of(figure):
    """Return the scatter plots of the first panel, from bottom to top."""
    return [artist for artist in figure.axes[0].collections if isinstance(artist, PathCollection)]


@pytest.fixture(params=plotting.names())
def name(request):
    return request.param


@pytest.mark.parametrize(("dynamical", "clusters"), [(True, True), (False, False)])
def test_a_figure_has_the_same_bytes_each_time(name, tmp_path, dynamical, clusters):
    for suffix in (".png", ".pdf"):
        both = []
        for attempt in (1, 2):
            path = tmp_path / f"{attempt}{suffix}"
            plotting.save(draw_figure(name, simulated_result(dynamical=dynamical, clusters=clusters)), path, 50)
            both.append(path.read_bytes())
        assert both[0] == both[1]
        assert len(both[0]) > 1000


def test_matplotlib_settings_of_the_user_have_no_effect_and_are_kept(name, tmp_path):
    plotting.save(draw_figure(name, simulated_result()), tmp_path / "plain.png", 50)
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "pink", "savefig.dpi": 9}):
        before = {key: mpl.rcParams[key] for key in mpl.rcParams}
        plotting.save(draw_figure(name, simulated_result()), tmp_path / "with_settings.png", 50)
        assert {key: mpl.rcParams[key] for key in mpl.rcParams} == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "with_settings.png").read_bytes()


@pytest.mark.parametrize("figure", ["stream", "grid", "arrows"])
def test_arrows_are_above_the_cells(figure):
    picture = draw_figure(figure, simulated_result())
    axes, cells = picture.axes[0], points_of(picture)
    arrows = [artist for artist in axes.collections if isinstance(artist, LineCollection | Quiver)] + list(axes.patches)
    assert cells
    assert arrows
    assert min(artist.zorder for artist in arrows) > max(artist.zorder for artist in cells)


def test_arrows_have_the_direction_of_the_velocities():
    (quiver,) = (
        artist for artist in draw_figure("grid", simulated_result()).axes[0].collections if isinstance(artist, Quiver)
    )
    assert (quiver.U > 0).all()
    np.testing.assert_allclose(quiver.V / quiver.U, 0.02 / 0.3, rtol=1e-6)


def test_cells_and_legend_have_the_colors_of_the_data():
    result = simulated_result()
    figure = draw_figure("stream", result)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == CLUSTERS
    assert [to_hex(handle.get_color()) for handle in legend.legend_handles] == COLORS
    colors = {to_hex(color) for artist in points_of(figure) for color in artist.get_facecolors()}
    assert colors == set(COLORS)


def test_cells_without_a_cluster_are_below_the_others():
    result = simulated_result()
    result.obs.loc[result.obs.index[:10], "clusters"] = np.nan
    below, above = [
        artist for artist in draw_figure("stream", result).axes[0].collections if isinstance(artist, PathCollection)
    ]
    assert len(below.get_offsets()) == 10
    assert below.zorder < above.zorder


@pytest.mark.parametrize("n_clusters", [1, 8, 9, 20, 45])
def test_default_colors_of_clusters_are_distinct(n_clusters):
    assert len({to_rgba(color) for color in distinct_colors(n_clusters)}) == n_clusters


def test_a_palette_overrides_the_colors_of_the_clusters_it_names():
    clusters = clusters_of(simulated_result(), {"left": "black", "elsewhere": "white"})
    colors = dict(zip(clusters.names, map(to_hex, clusters.colors), strict=True))
    assert colors == dict(zip(CLUSTERS, COLORS, strict=True)) | {"left": "#000000"}


def test_the_curve_passes_through_cells_that_follow_the_fit():
    # the cells of GeneA are on its curve without noise, so that the drawn lines pass through them
    figure = draw_figure("phase_portraits", simulated_result(n_cells=400), genes=["GeneA"])
    axes = figure.axes[0]
    cells = np.asarray(axes.collections[0].get_offsets())
    lines = np.vstack([line.get_xydata() for line in axes.lines if len(line.get_xydata()) > 10])
    spans = np.ptp(cells, axis=0)
    distance = np.linalg.norm((cells[:, None] - lines) / spans, axis=2).min(axis=1)
    # half the distance between two points of the drawn curve
    assert distance.max() < 0.02


def test_the_best_fitted_velocity_genes_are_drawn_by_default():
    titles = [axes.get_title() for axes in draw_figure("phase_portraits", simulated_result(), n_genes=8).axes]
    assert [title.split("\n")[0] for title in titles] == ["GeneB", "GeneA"]
    assert "0.50" in titles[0]


def test_the_line_of_a_linear_method_has_the_fitted_slope():
    axes = draw_figure("phase_portraits", simulated_result(dynamical=False), genes=["GeneB"]).axes[0]
    slopes = [line.get_slope() if hasattr(line, "get_slope") else None for line in axes.lines]
    drawn_slopes = [slope for slope in slopes if slope is not None] or [
        np.diff(line.get_ydata())[0] / np.diff(line.get_xdata())[0] for line in axes.lines
    ]
    assert any(slope == pytest.approx(0.6) for slope in drawn_slopes)


def test_text_has_the_font_of_the_style():
    figure = plotting.load("stream")(simulated_result(), style=STYLE._replace(font="DejaVu Serif"))
    assert figure.axes[0].xaxis.label.get_family() == ["DejaVu Serif"]


def test_a_missing_font_is_replaced_with_one_warning(caplog):
    for _ in range(2):
        figure = plotting.load("stream")(simulated_result(), style=STYLE._replace(font="No Such Font"))
    assert figure.axes[0].xaxis.label.get_family() == ["DejaVu Sans"]
    assert [record.getMessage() for record in caplog.records] == [
        "font 'No Such Font' is not installed; figures use DejaVu Sans instead"
    ]


def test_requested_genes_that_a_dataset_lacks_are_skipped():
    figure = draw_figure("phase_portraits", simulated_result(), genes=["GeneA", "of another dataset"])
    assert [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()] == ["GeneA"]


def test_an_error_for_unknown_genes_suggests_a_name():
    with pytest.raises(InputError, match="'GenA'.*did you mean 'GeneA'"):
        draw_figure("phase_portraits", simulated_result(), genes=["GenA"])


@pytest.mark.parametrize(
    ("figure", "remove", "message"),
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
def test_an_error_names_the_missing_part_of_the_result(figure, remove, message):
    result = simulated_result()
    remove(result)
    with pytest.raises(InputError, match=message):
        draw_figure(figure, result)


def test_latent_time_is_preferred_to_pseudotime():
    result = simulated_result()
    assert "pseudotime" in draw_figure("latent_time", result).get_suptitle()
    result.obs["latent_time"] = result.obs["velocity_pseudotime"]
    assert "Latent time" in draw_figure("latent_time", result).get_suptitle()


@pytest.mark.parametrize("figure", ["stream", "grid", "arrows"])
def test_cells_with_zero_or_missing_velocity_can_be_drawn(figure, tmp_path):
    result = simulated_result()
    result.obsm["velocity_umap"][:40] = 0
    result.obsm["velocity_umap"][40:50] = np.nan
    plotting.save(draw_figure(figure, result), tmp_path / "figure.pdf", 50)
    result.obsm["velocity_umap"][:] = 0
    plotting.save(draw_figure(figure, result), tmp_path / "figure.pdf", 50)


def message_of(figure):
    return " ".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize(
    ("figure", "remove", "message"),
    [
        ("paga", lambda result: result.uns["velocity_params"].pop("clusters"), "has no clusters"),
        ("ranking", lambda result: result.uns["velocity_params"].pop("clusters"), "has no clusters"),
        ("ranking", lambda result: result.uns.pop("rank_velocity_genes"), "No cluster could be compared"),
        ("differential_kinetics", lambda result: result.var.pop("fit_diff_kinetics"), "needs clusters and a method"),
        ("differential_kinetics", lambda result: result.var.__setitem__("fit_diff_kinetics", ""), "No gene"),
        ("heatmap", lambda result: result.obs.__setitem__("velocity_pseudotime", np.nan), "No cell has a time"),
        ("heatmap", lambda result: result.var.__setitem__("velocity_genes", False), "No gene has a velocity"),
        ("genes", lambda result: result.var.__setitem__("velocity_genes", False), "No gene has a velocity"),
        ("likelihood", lambda result: result.var.pop("fit_likelihood"), "does not report a goodness of fit"),
    ],
)
def test_a_message_replaces_a_figure_without_data(figure, remove, message):
    result = simulated_result()
    remove(result)
    assert message in message_of(draw_figure(figure, result))


def test_an_error_for_an_unknown_figure_suggests_a_name():
    with pytest.raises(InputError, match="did you mean 'stream'"):
        plotting.load("streem")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match="figure.bmp: the suffix must be one of .png, .pdf, .svg"):
        plotting.save(draw_figure("stream", simulated_result()), tmp_path / "figure.bmp", 50)


def test_velocities_have_colors_that_are_symmetric_about_zero():
    result = simulated_result()
    # velocities are mostly positive, and one is an outlier
    result.layers["velocity"][:, 0] = np.linspace(-1, 10, len(result.obs))
    result.layers["velocity"][0, 0] = -500
    colorbar = next(
        axes for axes in draw_figure("genes", result, genes=["GeneA"]).axes if axes.get_ylabel() == "velocity"
    )
    low, high = colorbar.get_ylim()
    assert low == -high
    assert 9 < high < 11


def test_a_gene_without_a_fit_can_be_drawn():
    figure = draw_figure("genes", simulated_result(), genes=["Silent"])
    assert figure.axes[0].get_title() == "Silent, not fitted"
    # missing velocities have no colorbar
    assert "velocity" not in {axes.get_ylabel() for axes in figure.axes}


def test_a_running_mean_is_the_mean_of_its_window():
    values = np.random.default_rng(0).normal(size=40)
    means = running_mean(values, 5)
    for k in range(40):
        assert means[k] == pytest.approx(values[max(0, k - 2) : k + 3].mean())
    np.testing.assert_allclose(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(np.ones(3), 3), 1)


def test_each_row_is_scaled_to_the_unit_interval():
    scaled = scale_rows([[1.0, 3.0, 2.0], [-10.0, 0.0, 10.0], [4.0, 4.0, 4.0]])
    np.testing.assert_allclose(scaled, [[0, 1, 0.5], [0, 0.5, 1], [0, 0, 0]])


def test_genes_of_the_heatmap_are_sorted_by_their_peaks():
    result = simulated_result()
    time = result.obs["velocity_pseudotime"].to_numpy()
    result.layers["Ms"] = np.column_stack([np.exp(-((time - peak) ** 2) / 0.02) for peak in (0.8, 0.3, 0.5)])
    # the order of cells in the file and cells without a time have no effect
    result.obs.loc[result.obs.index[::7], "velocity_pseudotime"] = np.nan
    shuffled = np.random.default_rng(1).permutation(len(time))
    result.obs, result.layers["Ms"] = result.obs.iloc[shuffled], result.layers["Ms"][shuffled]
    axes = next(axes for axes in draw_figure("heatmap", result).axes if axes.images)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["GeneB", "GeneA"]
    values = np.asarray(axes.images[0].get_array())
    assert values.shape[1] == np.isfinite(result.obs["velocity_pseudotime"]).sum()
    # a running mean of 10 of 102 cells shifts a peak by at most its width
    np.testing.assert_allclose(values.argmax(axis=1) / values.shape[1], [0.3, 0.8], atol=0.05)
    assert "running mean of 10 cells" in axes.get_xlabel()


def test_the_fractions_above_the_heatmap_sum_to_one():
    strip = draw_figure("heatmap", simulated_result()).axes[0]
    top = np.max([path.vertices[:, 1].max() for band in strip.collections for path in band.get_paths()])
    assert top == pytest.approx(1)
    assert [to_hex(band.get_facecolor()[0]) for band in strip.collections] == COLORS


def test_arrows_between_clusters_have_the_direction_of_the_transitions():
    result = simulated_result()
    medians = [np.median(result.obsm["X_umap"][result.obs["clusters"] == name], axis=0) for name in CLUSTERS]
    axes = draw_figure("paga", result).axes[0]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    ends = [arrow._posA_posB for arrow in arrows]
    np.testing.assert_allclose(ends, [[medians[0], medians[1]], [medians[1], medians[2]]])
    # the more confident transition is wider; only the pair without a transition has a dashed line
    assert arrows[0].get_linewidth() < arrows[1].get_linewidth()
    (dashed,) = axes.lines
    np.testing.assert_allclose(dashed.get_xydata(), [medians[0], medians[2]])


def test_areas_of_nodes_are_proportional_to_numbers_of_cells():
    result = simulated_result()
    result.obs["clusters"] = pd.Categorical(["stem"] * 60 + ["left"] * 36 + ["right"] * 24, CLUSTERS)
    nodes = draw_figure("paga", result).axes[0].collections[-1]
    sizes = nodes.get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], [1, 36 / 60, 24 / 60])


def test_a_paga_graph_of_other_clusters_is_an_error():
    result = simulated_result()
    result.obs["clusters"] = pd.Categorical(np.array([*CLUSTERS, "new"])[np.arange(120) % 4])
    with pytest.raises(InputError, match="has 3 clusters, but the cells have 4"):
        draw_figure("paga", result)


def test_clusters_without_cells_have_no_node():
    result = simulated_result()
    result.obs["clusters"] = pd.Categorical(np.where(result.obs["clusters"] == "right", "right", "stem"), CLUSTERS)
    axes = draw_figure("paga", result).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    # both transitions were to or from the empty cluster
    assert not [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    # the same if the graph does not contain that cluster
    transitions = np.array([[0, 0], [0.3, 0]])
    result.uns["paga"] = {"connectivities": transitions + transitions.T, "transitions_confidence": transitions}
    (arrow,) = draw_figure("paga", result).axes[0].patches
    medians = [np.median(result.obsm["X_umap"][result.obs["clusters"] == name], axis=0) for name in ("stem", "right")]
    np.testing.assert_allclose(arrow._posA_posB, medians)


def test_dots_of_significant_scores_are_filled():
    figure = draw_figure("ranking", simulated_result(), n_genes=2)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == CLUSTERS
    for axes, (first, second), color in zip(panels, [(9, 2), (5, 1), (7, 3)], COLORS, strict=True):
        significant, other = points_of(SimpleNamespace(axes=[axes]))
        np.testing.assert_allclose(significant.get_offsets(), [[first, 0]])
        np.testing.assert_allclose(other.get_offsets(), [[second, 1]])
        assert to_hex(significant.get_facecolor()[0]) == color
        assert to_hex(other.get_facecolor()[0]) == "#ffffff"
        assert axes.get_xlim() == panels[0].get_xlim()


def test_the_orthogonal_slope_is_that_of_the_first_principal_axis_through_the_origin():
    rng = np.random.default_rng(3)
    spliced = rng.uniform(0.5, 3, 200)
    unspliced = np.abs(0.4 * spliced + 0.1 * rng.normal(size=200))
    axis = np.linalg.svd(np.column_stack([spliced, unspliced]), full_matrices=False)[2][0]
    assert orthogonal_slope(spliced, unspliced) == pytest.approx(axis[1] / axis[0])
    # cells in which one abundance is zero are left out
    assert orthogonal_slope(np.append(spliced, 5.0), np.append(unspliced, 0.0)) == pytest.approx(axis[1] / axis[0])
    assert np.isnan(orthogonal_slope(np.zeros(3), np.ones(3)))


def test_clusters_with_differential_kinetics_have_colors_and_lines():
    result = simulated_result()
    figure = draw_figure("differential_kinetics", result)
    # the most significant gene is first
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["GeneB", "GeneA"]
    first = figure.axes[0]
    below, above = points_of(figure)
    assert {to_hex(color) for color in below.get_facecolors()} == {"#dadada"}
    assert {to_hex(color) for color in above.get_facecolors()} == {COLORS[1]}
    cells = (result.obs["clusters"] == "left").to_numpy()
    scaling = result.var.loc["GeneB", "fit_scaling"]
    slope = scaling * orthogonal_slope(result.layers["Ms"][cells, 1], result.layers["Mu"][cells, 1] / scaling)
    (line,) = [line for line in first.lines if to_hex(line.get_color()) == COLORS[1]]
    assert line.get_slope() == pytest.approx(slope)
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= {"left", "right", "induction"}


def test_names_of_clusters_can_contain_commas():
    clusters = clusters_of(simulated_result())._replace(names=("B", "T, naive", "T", "naive"))
    assert flagged_clusters("B,T, naive", clusters).tolist() == [0, 1]
    assert flagged_clusters(np.nan, clusters).tolist() == []
    assert flagged_clusters("", clusters).tolist() == []


def test_histograms_of_parameters_count_all_genes_and_velocity_genes():
    result = simulated_result()
    result.var = pd.concat([result.var.iloc[[0]]] * 30 + [result.var.iloc[[2]]] * 5, ignore_index=True)
    result.var["fit_alpha"] = [*np.geomspace(0.1, 10, 30), *[np.nan] * 5]
    result.var["velocity_genes"] = np.arange(35) % 3 == 0
    axes = next(axes for axes in draw_figure("parameters", result).axes if axes.get_xlabel() == "transcription rate α")
    heights = [patch.get_height() for patch in axes.patches]
    assert (sum(heights[:40]), sum(heights[40:])) == (30, 10)
    assert axes.get_xscale() == "log"


def test_likelihoods_are_sorted_and_the_best_genes_are_named():
    result = simulated_result()
    result.var.loc["Silent", "fit_likelihood"] = 0.4
    figure = draw_figure("likelihood", result, n_genes=1)
    velocity_genes, others = points_of(figure)
    np.testing.assert_allclose(velocity_genes.get_offsets(), [[1, 0.5], [3, 0.3]])
    np.testing.assert_allclose(others.get_offsets(), [[2, 0.4]])
    assert message_of(figure) == "GeneB"
    assert "lowest velocity gene: 0.3" in {text.get_text() for text in figure.legends[0].get_texts()}


@pytest.mark.parametrize("n_clusters", [1, 30])
def test_long_names_of_many_clusters_are_within_the_figure(name, n_clusters):
    result = simulated_result()
    names = [f"A long name of a cell type, number {k}" for k in range(n_clusters)]
    result.obs["clusters"] = pd.Categorical(np.array(names)[np.arange(120) % n_clusters], names)
    result.var["fit_diff_kinetics"] = ",".join(names)
    del result.uns["clusters_colors"]
    ring = np.roll(np.eye(n_clusters), 1, axis=0) if n_clusters > 1 else np.zeros((1, 1))
    result.uns["paga"] = {"connectivities": ring + ring.T, "transitions_confidence": 0.3 * ring}
    for key, table in result.uns["rank_velocity_genes"].items():
        column = table[CLUSTERS[0]]
        result.uns["rank_velocity_genes"][key] = np.rec.fromarrays([column] * n_clusters, names=names)
    result.uns["velocity_params"]["dataset"] = "a_dataset_with_a_name_that_goes_on"
    figure = plotting.load(name)(result, style=plotting.Style())
    figure.canvas.draw()
    width, height = figure.bbox.size
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    # ticks beyond the limits are not drawn
    labels = [
        text
        for axes in figure.axes
        for text, position in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
        if min(axes.get_ylim()) <= position <= max(axes.get_ylim())
    ]
    for text in [figure._suptitle, *legends, *labels]:
        box = text.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


def test_an_embedding_in_single_precision_can_be_drawn(name):
    result = simulated_result()
    result.obsm = {key: values.astype(np.float32) for key, values in result.obsm.items()}
    draw_figure(name, result).canvas.draw()


def test_a_png_has_the_pixels_that_matplotlib_drew(tmp_path):
    figure = draw_figure("paga", simulated_result())
    plotting.save(figure, tmp_path / "figure.png", 100)
    with settings(plotting.Style()):
        figure.savefig(tmp_path / "drawn.png", dpi=100)
    saved, expected = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGBA")) for name in ("figure", "drawn"))
    np.testing.assert_array_equal(saved, expected)


def test_every_figure_has_a_caption(name):
    branch = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0]
    assert "{{ dataset }}" in branch
    assert 2 <= branch.count(". ") + branch.count(".\n") <= 8
