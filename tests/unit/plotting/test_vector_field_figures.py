"""Figures of a vector field draw the arrays of its analyses, and are the same bytes on each run."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.quiver import Quiver
from veloshard import plotting
from veloshard.output.cluster_colors import UNKNOWN
from veloshard.plotting.vector_field import perturbation, regulation, topography, trajectories

STYLE = plotting.Style(panel_size=2.0, dpi=50)
GROUP = "vector_field"
COLORS = ["#ff0000", "#00ff00", "#0000ff"]
NAMES = ["stem", "left", "right"]
CAPTIONS = Path(__file__).parents[3] / "workflow/report/field_figure.rst"
NO_LINE = np.empty((0, 2))


def simulated_result(*, clusters=NAMES):
    """A result of 90 cells along the x axis, in clusters of equal size or without clusters."""
    rng = np.random.default_rng(0)
    embedding = np.column_stack([np.linspace(-1, 1, 90), 0.3 * rng.normal(size=90)])
    params, uns = {"embedding": "umap", "dataset": "liver", "method": "any"}, {}
    obs = pd.DataFrame(index=[f"cell{k}" for k in range(90)])
    if clusters:
        params["clusters"], uns["clusters_colors"] = "clusters", np.array(COLORS[: len(clusters)])
        codes = np.arange(90) * len(clusters) // 90
        obs["clusters"] = pd.Categorical(np.array(clusters)[codes], clusters)
    return SimpleNamespace(obs=obs, obsm={"X_umap": embedding}, uns={"velocity_params": params} | uns)


def figure_values(name):
    """Return the arrays of a figure: a field with two attractors and a saddle, and straight trajectories."""
    rng = np.random.default_rng(1)
    x, y = np.linspace(-1.2, 1.2, 41), np.linspace(-1, 1, 31)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    shares = np.linspace(0, 1, 20)[:, None]
    starts = np.array([[-0.8, 0.1], [-0.2, 0.0], [0.5, -0.1]])
    trajectories = starts[:, None] + shares * (np.array([[0.9, 0.0]] * 3) - starts)[:, None]
    topography = {
        "x": x,
        "y": y,
        "vectors": np.stack([grid[..., 0] - 2 * grid[..., 0] ** 3, -grid[..., 1]], axis=-1),
        "near_cells": np.abs(grid[..., 1]) < 0.6,
        "domain": np.array([[-1.2, 1.2], [-1.0, 1.0]]),
        "coordinates": np.array([[-(0.5**0.5), 0], [0, 0], [0.5**0.5, 0], [0, 0.95]]),
        "kinds": np.array(["attractor", "saddle", "attractor", "repeller"]),
        "confidence": np.array([1.0, 0.8, 0.5, np.nan]),
        "nullcline_x": np.array([[0, -1], [0, 0], [0, 1], [np.nan] * 2, [0.7, -1], [0.7, 0], [0.7, 1]]),
        "nullcline_y": np.array([[-1.2, 0], [1.2, 0]]),
        "separatrices": np.array([[0, 0], [0, 0.5], [0, 0.9], [np.nan] * 2, [0, 0], [0, -0.9]]),
    }
    signed = rng.normal(size=90)
    signed[[3, 4]] = np.nan
    return {
        "streamlines": topography,
        "topography": topography,
        "geometry": {
            "speed": np.abs(signed),
            "divergence": signed,
            "acceleration": signed**2,
            "curvature": np.abs(signed),
            "divergence_embedding": signed,
            "curl_embedding": signed,
            "inlier_probability": np.full(90, 0.9),
        },
        "regulation": {
            "groups": np.array(["all cells", *NAMES]),
            "genes": np.array(["Gcg", "Ins1", "Pdx1"]),
            "jacobian": rng.normal(size=(4, 3, 3)),
        },
        "trajectories": {
            "cells": np.array([0, 35, 70]),
            "coordinates": trajectories,
            "times": shares.T * np.array([[4.0], [2.0], [1.0]]),
            "ends_at_rest": np.array([False, True, True]),
        },
        "least_action_paths": {
            "names": np.array(["stem to left", "stem to right", "left to right"]),
            "coordinates": trajectories,
            "duration": np.array([1.0, 2.0, np.inf]),
            "action": np.array([0.5, 0.25, np.nan]),
            "converged": np.array([True, False, True]),
        },
        "perturbation": {
            "effect_embedding": np.where(np.arange(90)[:, None] < 45, [0.2, 0.1], 0.0),
            "name": np.array("no_gcg"),
            "changes": np.array(["Gcg: absolute -100", "Arx: fold 0"]),
        },
    }[name]


def draw(name, result=None, **changes):
    return plotting.load(name, group=GROUP)(result or simulated_result(), figure_values(name) | changes, style=STYLE)


def texts_of(figure):
    return " ".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)


def legend_of(figure):
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def markers_of(axes):
    """Artists of the panel that are single points with a marker."""
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def panels_of(figure):
    """All panels except colorbars and empty ones."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.axison]


@pytest.fixture(params=plotting.names(GROUP))
def name(request):
    return request.param


def test_there_is_a_figure_for_each_analysis():
    expected = ["streamlines", "topography", "geometry", "regulation"]
    expected += ["trajectories", "least_action_paths", "perturbation"]
    assert plotting.names(GROUP) == tuple(sorted(expected))


def test_every_figure_is_the_same_bytes_on_each_run(name, tmp_path):
    for suffix in (".png", ".pdf"):
        contents = []
        for run in (1, 2):
            path = tmp_path / f"{run}{suffix}"
            plotting.save(draw(name), path, 50)
            contents.append(path.read_bytes())
        assert contents[0] == contents[1]
        assert len(contents[0]) > 1000


@pytest.mark.parametrize("clusters", [["all"], []])
def test_cells_of_one_cluster_or_of_none_can_be_drawn(name, tmp_path, clusters):
    plotting.save(draw(name, simulated_result(clusters=clusters)), tmp_path / "figure.png", 50)


def test_every_figure_names_the_dataset_and_the_method(name):
    assert "liver, any" in draw(name).get_suptitle().replace("\n", " ")


def test_every_figure_has_a_caption(name):
    branch = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0].split("{% endif")[0]
    # independent of line breaks
    assert "{{ dataset }}" in " ".join(branch.split())
    assert 4 <= branch.count(". ") + branch.count(".\n") <= 12


def test_long_names_are_within_the_figure(name):
    values = figure_values(name)
    long_names = {
        key: np.array([f"A long name of a cell type, number {k}" for k in range(len(values[key]))])
        for key in {"groups", "names", "changes"} & values.keys()
    }
    result = simulated_result(clusters=[f"A long name of a cluster, number {k}" for k in range(3)])
    figure = plotting.load(name, group=GROUP)(result, values | long_names, style=plotting.Style())
    figure.canvas.draw()
    width, height = figure.bbox.size
    texts = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    texts += [text for axes in panels_of(figure) for text in (axes.title, *axes.get_yticklabels())]
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


@pytest.mark.parametrize("figure", ["streamlines", "topography"])
def test_streamlines_are_above_cells_and_near_cells_only(figure):
    (axes,) = draw(figure).axes
    cells = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    (lines,) = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    assert min(lines.zorder, *(arrow.zorder for arrow in axes.patches)) > max(artist.zorder for artist in cells)
    points = np.concatenate(lines.get_segments())
    # at most one grid step beyond the points near cells
    assert np.abs(points[:, 1]).max() < 0.6 + 2 / 30
    assert np.ptp(points[:, 0]) > 1


@pytest.mark.parametrize("figure", ["streamlines", "topography"])
@pytest.mark.parametrize("changes", [{"near_cells": np.zeros((31, 41), bool)}, {"vectors": np.zeros((31, 41, 2))}])
def test_a_field_away_from_cells_or_of_zero_can_be_drawn(figure, changes, tmp_path):
    plotting.save(draw(figure, **changes), tmp_path / "figure.pdf", 50)


def test_streamlines_are_wider_where_the_field_is_faster():
    (lines,) = [artist for artist in draw("streamlines").axes[0].collections if isinstance(artist, LineCollection)]
    midpoints = np.array([segment.mean(axis=0) for segment in lines.get_segments()])
    speed = np.hypot(midpoints[:, 0] - 2 * midpoints[:, 0] ** 3, midpoints[:, 1])
    widths = np.broadcast_to(lines.get_linewidths(), len(speed))
    assert np.corrcoef(speed, widths)[0, 1] > 0.9


def test_fixed_points_have_markers_by_kind():
    figure = draw("topography")
    markers = markers_of(figure.axes[0])
    np.testing.assert_allclose(
        [marker.get_xydata()[0] for marker in markers], figure_values("topography")["coordinates"], atol=1e-12
    )
    fills = [(marker.get_fillstyle(), to_hex(marker.get_markerfacecolor())) for marker in markers]
    attractor, saddle, repeller = ("full", "#1a1a1a"), ("left", "#1a1a1a"), ("full", "#ffffff")
    assert fills == [attractor, saddle, attractor, repeller]
    assert legend_of(figure) == {
        *NAMES, "attractor", "saddle", "repeller", "far from cells",
        "nullcline of UMAP 1", "nullcline of UMAP 2", "separatrix",
    }  # fmt: skip


def test_fixed_points_are_larger_for_higher_confidence_and_within_the_panel():
    axes = draw("topography").axes[0]
    sizes = [marker.get_markersize() for marker in markers_of(axes)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == topography.DIAMETERS[1]
    # the confidence of the last is NaN
    assert sizes[-1] == topography.DIAMETERS[0]
    assert axes.get_xlim() == (-1.2, 1.2)
    assert axes.get_ylim() == (-1, 1)


def test_lines_are_nan_away_from_cells():
    values = figure_values("topography")
    lines = topography.lines_near_cells(values, "separatrices")
    np.testing.assert_array_equal(np.isfinite(lines[:, 0]), [True, True, False, False, True, False])
    # the argument is not changed
    assert np.isfinite(values["separatrices"]).all(axis=1).sum() == 5


def test_the_legend_says_that_there_is_no_fixed_point():
    figure = draw(
        "topography",
        coordinates=NO_LINE,
        kinds=np.empty(0, "U1"),
        confidence=np.empty(0),
        nullcline_x=NO_LINE,
        nullcline_y=NO_LINE,
        separatrices=NO_LINE,
    )
    assert not markers_of(figure.axes[0])
    assert legend_of(figure) == {*NAMES, "no fixed point"}


def test_geometry_has_a_panel_for_each_value_and_gray_cells_without_one():
    figure = draw("geometry")
    panels = panels_of(figure)
    assert [axes.get_title() for axes in panels] == [
        "speed", "acceleration", "curvature", "divergence", "divergence on the embedding", "curl on the embedding",
        "inlier probability",
    ]  # fmt: skip
    for axes in panels[:-1]:
        without_value, with_value = axes.collections
        assert len(without_value.get_offsets()) == 2
        assert {to_hex(color) for color in without_value.get_facecolors()} == {UNKNOWN.lower()}
        assert without_value.zorder < with_value.zorder


def test_divergence_and_curl_have_colors_that_are_symmetric_about_zero():
    values = np.append(np.linspace(-1, 10, 89), 500.0)
    figure = draw("geometry", divergence=values, curl_embedding=values)
    limits = {axes.get_ylabel(): axes.get_ylim() for axes in figure.axes if axes.get_label() == "<colorbar>"}
    low, high = limits["clockwise < 0 < counterclockwise"]
    assert low == -high
    assert 9 < high < 11


def test_all_cells_are_gray_if_none_has_a_value():
    figure = draw("geometry", curvature=np.full(90, np.nan))
    (cells,) = next(axes for axes in figure.axes if axes.get_title() == "curvature").collections
    assert {to_hex(color) for color in cells.get_facecolors()} == {UNKNOWN.lower()}


def test_groups_of_regulation_share_their_colors_and_nan_is_gray():
    values = figure_values("regulation")
    jacobian = values["jacobian"].copy()
    jacobian[1, 2] = np.nan
    figure = draw("regulation", jacobian=jacobian)
    panels = panels_of(figure)
    assert [axes.get_title() for axes in panels] == list(values["groups"])
    for axes, matrix in zip(panels, jacobian, strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array().filled(np.nan), matrix)
        limit = np.nanmax(np.abs(jacobian))
        assert image.get_clim() == (-limit, limit)
        assert to_hex(axes.get_facecolor()) == UNKNOWN.lower()
        # NaN is transparent above the gray panel, and gray is not the color of 0
        assert image.cmap.get_bad()[3] == 0
        assert np.abs(np.array(image.to_rgba(0.0)) - to_rgba(UNKNOWN)).max() > 0.08
        assert [label.get_text() for label in axes.get_yticklabels()] == ["Gcg", "Ins1", "Pdx1"]
    assert figure.get_supxlabel() == "regulator"
    assert figure.get_supylabel() == "effector"


def test_colors_of_many_values_end_at_their_99th_percentile():
    values = np.random.default_rng(0).normal(size=(3, 20, 20))
    values[0, 0, 0] = 1e6
    assert regulation.color_limit(values) == pytest.approx(np.percentile(np.abs(values), 99))
    assert regulation.color_limit(values[:, :2, :2]) == 1e6
    assert regulation.color_limit(np.zeros((1, 2, 2))) == 1
    assert np.isnan(regulation.color_limit(np.full((1, 2, 2), np.nan)))


def test_at_most_12_groups_are_drawn_and_the_title_has_their_number():
    groups = np.array([f"group {k}" for k in range(15)])
    figure = draw("regulation", groups=groups, jacobian=np.random.default_rng(0).normal(size=(15, 3, 3)))
    assert [axes.get_title() for axes in panels_of(figure)] == list(groups[:12])
    assert "12 of 15 groups" in figure.get_suptitle()
    assert "groups" not in draw("regulation").get_suptitle()


def lines_of(axes):
    return [line for line in axes.lines if line.get_linestyle() != "None"]


def test_complete_trajectories_have_the_colors_of_the_clusters_they_start_in():
    figure = draw("trajectories")
    complete = panels_of(figure)[0]
    assert len(panels_of(figure)) == 5
    assert [to_hex(line.get_color()) for line in lines_of(complete)] == ["#990000", "#009900", "#000099"]
    starts, ends = markers_of(complete)[::2], markers_of(complete)[1::2]
    coordinates = figure_values("trajectories")["coordinates"]
    np.testing.assert_allclose([marker.get_xydata()[0] for marker in starts], coordinates[:, 0])
    np.testing.assert_allclose([marker.get_xydata()[0] for marker in ends], coordinates[:, -1])
    # the first does not end at rest: a triangle
    assert [end.get_marker() for end in ends[1:]] == ["s", "s"]
    assert ends[0].get_marker()[:2] == (3, 0)


def test_panels_show_the_cells_at_shares_of_the_longest_time():
    figure = draw("trajectories")
    coordinates = figure_values("trajectories")["coordinates"]
    starts, ends = coordinates[:, 0], coordinates[:, -1]
    for axes, share in zip(panels_of(figure)[1:], (0.25, 0.5, 0.75, 1), strict=True):
        # the speed is constant, and durations are 4, 2 and 1
        parts = np.minimum(share * 4 / np.array([4, 2, 1]), 1)[:, None]
        expected = starts + parts * (ends - starts)
        np.testing.assert_allclose([marker.get_xydata()[0] for marker in markers_of(axes)], expected)
        np.testing.assert_allclose([line.get_xydata()[-1] for line in lines_of(axes)], expected)
    assert "(4)" in panels_of(figure)[4].get_title()


def test_backward_trajectories_are_drawn_by_their_absolute_times():
    figure = draw("trajectories", times=-figure_values("trajectories")["times"])
    assert "Backward" in figure.get_suptitle()
    forward_lines = lines_of(panels_of(draw("trajectories"))[2])
    for backward, forward in zip(lines_of(panels_of(figure)[2]), forward_lines, strict=True):
        np.testing.assert_array_equal(backward.get_xydata(), forward.get_xydata())


@pytest.mark.parametrize(("step", "angle"), [((1, 0), -90), ((0, 1), 0), ((-1, 0), 90), ((0, 0), -90)])
def test_triangles_point_in_the_direction_of_the_last_step(step, angle):
    # a triangle of matplotlib points up before it is rotated
    trajectory = np.array([[0, 0], step, step], dtype=float)
    assert trajectories.direction_marker(trajectory) == (3, 0, angle)


def test_paths_are_numbered_and_dashed_without_convergence():
    figure = draw("least_action_paths")
    (axes,) = figure.axes
    lines = lines_of(axes)
    assert [line.get_linestyle() for line in lines] == ["-", "--", "--"]
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    for text, line in zip(axes.texts, lines, strict=True):
        distance = np.linalg.norm(line.get_xydata() - text.get_position(), axis=1)
        assert distance.min() < 0.05
        assert text.get_color() == line.get_color()
    # labels may have line breaks
    labels = {" ".join(text.split()) for text in legend_of(figure)}
    assert labels >= {
        "1 stem to left: action 0.5",
        "2 stem to right: action 0.25, not converged",
        "3 left to right: no action",
    }


def test_numbers_of_identical_paths_do_not_overlap():
    coordinates = figure_values("least_action_paths")["coordinates"]
    axes = draw("least_action_paths", coordinates=coordinates[[0, 0, 0]]).axes[0]
    positions = np.array([text.get_position() for text in axes.texts])
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)[np.triu_indices(3, 1)]
    assert distances.min() > 0.05


def test_a_path_without_coordinates_can_be_drawn(tmp_path):
    coordinates = figure_values("least_action_paths")["coordinates"].copy()
    coordinates[1] = np.nan
    figure = draw("least_action_paths", coordinates=coordinates)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "3"]
    plotting.save(figure, tmp_path / "figure.pdf", 50)


def test_arrows_of_a_perturbation_have_its_direction_and_are_only_where_it_has_an_effect():
    figure = draw("perturbation")
    (axes,) = figure.axes
    (quiver,) = (artist for artist in axes.collections if isinstance(artist, Quiver))
    np.testing.assert_allclose(quiver.V / quiver.U, 0.5, rtol=1e-6)
    # there is no effect on the right half of the cells; the average extends a few grid steps
    assert quiver.X.min() < -0.8
    assert quiver.X.max() < 0.3
    assert axes.get_title() == "Gcg: absolute -100; Arx: fold 0"
    assert "no_gcg" in figure.get_suptitle()


def test_cells_with_an_effect_of_nan_are_left_out():
    effect = figure_values("perturbation")["effect_embedding"].copy()
    effect[:20] = np.nan
    (axes,) = draw("perturbation", effect_embedding=effect).axes
    (quiver,) = (artist for artist in axes.collections if isinstance(artist, Quiver))
    assert np.isfinite(quiver.U).all()
    assert len(quiver.U)


@pytest.mark.parametrize(
    ("figure", "changes", "message"),
    [
        (
            "perturbation",
            {"effect_embedding": np.zeros((90, 2))},
            "Gcg: absolute -100; Arx: fold 0: the perturbation does not",
        ),
        ("perturbation", {"effect_embedding": np.full((90, 2), np.nan)}, "does not change any velocity"),
        ("regulation", {"jacobian": np.full((4, 3, 3), np.nan)}, "no finite value"),
        ("regulation", {"genes": np.empty(0, "U1"), "jacobian": np.empty((4, 0, 0))}, "no finite value"),
        (
            "trajectories",
            {"cells": np.empty(0, int), "coordinates": np.empty((0, 9, 2)), "times": np.empty((0, 9))},
            "no cells were selected",
        ),
        ("least_action_paths", {"names": np.empty(0, "U1")}, "no paths were requested"),
    ],
)
def test_a_figure_without_data_has_a_message(figure, changes, message):
    assert message in texts_of(draw(figure, **changes))


def test_cells_of_each_panel_of_the_geometry_have_the_colors_of_the_array_in_its_title():
    arrays = {
        "speed": "speed",
        "acceleration": "acceleration",
        "curvature": "curvature",
        "divergence": "divergence",
        "divergence on the embedding": "divergence_embedding",
        "curl on the embedding": "curl_embedding",
        "inlier probability": "inlier_probability",
    }
    rng = np.random.default_rng(3)
    values = {array: rng.random(90) for array in arrays.values()}
    result = simulated_result()
    figure = draw("geometry", result, **values)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    mappables = {axes._colorbar_info["parents"][0]: axes._colorbar.mappable for axes in bars}
    signs = {
        "divergence": "converging < 0 < diverging",
        "divergence on the embedding": "converging < 0 < diverging",
        "curl on the embedding": "clockwise < 0 < counterclockwise",
    }
    labels = {axes._colorbar_info["parents"][0].get_title(): axes.get_ylabel() for axes in bars}
    assert signs.items() <= labels.items()
    for axes in panels_of(figure):
        (cells,) = axes.collections
        drawn = {tuple(point): color for point, color in zip(cells.get_offsets(), cells.get_facecolors(), strict=True)}
        expected = mappables[axes].to_rgba(values[arrays[axes.get_title()]])
        np.testing.assert_allclose([drawn[tuple(point)] for point in result.obsm["X_umap"]], expected)


def test_labels_of_lines_and_fixed_points_are_those_of_the_arrays():
    figure = draw("topography")
    (axes,) = figure.axes
    (legend,) = figure.legends
    handles = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    values = figure_values("topography")
    arrays = {
        "nullcline of UMAP 1": "nullcline_x",
        "nullcline of UMAP 2": "nullcline_y",
        "separatrix": "separatrices",
    }
    for label, array in arrays.items():
        color = handles[label].get_color()
        (line,) = [line for line in axes.lines if line.get_color() == color and len(line.get_xdata()) > 1]
        np.testing.assert_array_equal(line.get_xydata(), topography.lines_near_cells(values, array))
    for marker, kind in zip(markers_of(axes), values["kinds"], strict=True):
        for name in ("fillstyle", "markerfacecolor"):
            assert getattr(marker, f"get_{name}")() == getattr(handles[kind], f"get_{name}")()


def test_labels_of_the_ends_of_trajectories_are_those_of_their_markers():
    figure = draw("trajectories")
    (legend,) = figure.legends
    handles = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    ends = markers_of(panels_of(figure)[0])[1::2]
    for end, at_rest in zip(ends, figure_values("trajectories")["ends_at_rest"], strict=True):
        marker = handles["end, at rest" if at_rest else "end, still moving"].get_marker()
        # triangles differ in their direction
        assert end.get_marker()[:2] == marker[:2] if isinstance(marker, tuple) else end.get_marker() == marker


@pytest.mark.parametrize(
    ("figure", "statement"),
    [
        # each is what the tests above find drawn
        ("streamlines", "thicker where the field is faster"),
        ("topography", "Points are larger if cells are closer"),
        ("topography", "All trajectories near an attractor end in it, and all trajectories near a repeller leave it"),
        ("topography", "Nullclines are drawn near cells only"),
        ("geometry", "Divergence is negative where trajectories converge"),
        ("geometry", "positive where they diverge"),
        ("regulation", "expression of each gene (regulator, column)"),
        ("regulation", "(effector, row)"),
        (
            "regulation",
            "Red: the effector's velocity increases with the expression of the regulator; blue: it decreases",
        ),
        ("regulation", "end at the 99th percentile"),
        ("trajectories", "A square marks an end where the field is at rest, and a triangle the end of a trajectory"),
        ("least_action_paths", "A path is dashed if the search did not converge"),
        ("perturbation", "effects below a tenth of the typical one are not drawn"),
    ],
)
def test_a_caption_says_what_is_drawn(figure, statement):
    branch = CAPTIONS.read_text().split(f'figure == "{figure}" %}}')[1].split("{% el")[0]
    assert statement in " ".join(branch.split())


def test_numbers_and_colors_in_captions_are_those_of_the_figures():
    assert perturbation.MIN_LENGTH == 1 / 10
    image = panels_of(draw("regulation"))[0].images[0]
    for value, name in ((1, "red"), (-1, "blue")):
        red, _, blue, _ = image.to_rgba(value * image.norm.vmax)
        assert (name == "red") == (red > blue)
