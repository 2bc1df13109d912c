"""Figures of a learned field draw what was found in it, near cells and in their colours, the same bytes each time."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.quiver import Quiver
from veloshard import figures
from veloshard.figures.style import UNKNOWN
from veloshard.figures.vector_field import regulation, topography, trajectories

STYLE = figures.Style(panel_size=2.0, dpi=50)
FOLDER = "vector_field"
COLORS = ["#ff0000", "#00ff00", "#0000ff"]
NAMES = ["stem", "left", "right"]
CAPTIONS = Path(__file__).parents[2] / "workflow/report/field_figure.rst"
NO_LINE = np.empty((0, 2))


def made_up(*, clusters=NAMES):
    """A result of 90 cells that walk from left to right in as many clusters, or without any."""
    rng = np.random.default_rng(0)
    places = np.column_stack([np.linspace(-1, 1, 90), 0.3 * rng.normal(size=90)])
    params, uns = {"embedding": "umap", "dataset": "liver", "method": "any"}, {}
    obs = pd.DataFrame(index=[f"cell{k}" for k in range(90)])
    if clusters:
        params["clusters"], uns["clusters_colors"] = "clusters", np.array(COLORS[: len(clusters)])
        codes = np.arange(90) * len(clusters) // 90
        obs["clusters"] = pd.Categorical(np.array(clusters)[codes], clusters)
    return SimpleNamespace(obs=obs, obsm={"X_umap": places}, uns={"velocity_params": params} | uns)


def found_in(name):
    """What a figure is of: a field with two attractors and a saddle between, in closed form, or made up values."""
    rng = np.random.default_rng(1)
    x, y = np.linspace(-1.2, 1.2, 41), np.linspace(-1, 1, 31)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    ways = np.linspace(0, 1, 20)[:, None]
    starts = np.array([[-0.8, 0.1], [-0.2, 0.0], [0.5, -0.1]])
    courses = starts[:, None] + ways * (np.array([[0.9, 0.0]] * 3) - starts)[:, None]
    topography = {
        "x": x,
        "y": y,
        "vectors": np.stack([grid[..., 0] - 2 * grid[..., 0] ** 3, -grid[..., 1]], axis=-1),
        "near_cells": np.abs(grid[..., 1]) < 0.6,
        "domain": np.array([[-1.2, 1.2], [-1.0, 1.0]]),
        "places": np.array([[-(0.5**0.5), 0], [0, 0], [0.5**0.5, 0], [0, 0.95]]),
        "kinds": np.array(["attractor", "saddle", "attractor", "repeller"]),
        "confidence": np.array([1.0, 0.8, 0.5, np.nan]),
        "nullcline_x": np.array([[0, -1], [0, 0], [0, 1], [np.nan] * 2, [0.7, -1], [0.7, 0], [0.7, 1]]),
        "nullcline_y": np.array([[-1.2, 0], [1.2, 0]]),
        "separatrices": np.array([[0, 0], [0, 0.5], [0, 0.9], [np.nan] * 2, [0, 0], [0, -0.9]]),
    }
    signed = rng.normal(size=90)
    signed[[3, 4]] = np.nan
    return {
        "field": topography,
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
            "values": rng.normal(size=(4, 3, 3)),
        },
        "trajectories": {
            "cells": np.array([0, 35, 70]),
            "places": courses,
            "times": ways.T * np.array([[4.0], [2.0], [1.0]]),
            "ends_at_rest": np.array([False, True, True]),
        },
        "paths": {
            "names": np.array(["stem to left", "stem to right", "left to right"]),
            "places": courses,
            "duration": np.array([1.0, 2.0, np.inf]),
            "action": np.array([0.5, 0.25, np.nan]),
            "converged": np.array([True, False, True]),
        },
        "perturbation": {
            "arrows": np.where(np.arange(90)[:, None] < 45, [0.2, 0.1], 0.0),
            "name": np.array("no_gcg"),
            "changes": np.array(["Gcg: absolute -100", "Arx: fold 0"]),
        },
    }[name]


def drawn(name, result=None, **changes):
    return figures.load(name, of=FOLDER)(result or made_up(), found_in(name) | changes, style=STYLE)


def words_of(figure):
    return " ".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)


def legend_of(figure):
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def markers_of(axes):
    """Lines of the panel that are single points with a marker."""
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def panels_of(figure):
    """All panels but colourbars and those that are left empty."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.axison]


@pytest.fixture(params=figures.names(FOLDER))
def name(request):
    return request.param


def test_there_is_a_figure_for_all_that_is_found_in_a_field():
    assert figures.names(FOLDER) == tuple(
        sorted(["field", "topography", "geometry", "regulation", "trajectories", "paths", "perturbation"])
    )
    assert FOLDER not in figures.names()


def test_every_figure_is_the_same_bytes_twice(name, tmp_path):
    for suffix in (".png", ".pdf"):
        both = []
        for attempt in (1, 2):
            path = tmp_path / f"{attempt}{suffix}"
            figures.save(drawn(name), path, 50)
            both.append(path.read_bytes())
        assert both[0] == both[1]
        assert len(both[0]) > 1000


@pytest.mark.parametrize("clusters", [["all"], []])
def test_cells_of_one_cluster_or_of_none_can_be_drawn(name, tmp_path, clusters):
    figures.save(drawn(name, made_up(clusters=clusters)), tmp_path / "figure.png", 50)


def test_every_figure_names_the_dataset_and_the_method(name):
    assert "liver, any" in drawn(name).get_suptitle().replace("\n", " ")


def test_every_figure_has_a_caption(name):
    branch = CAPTIONS.read_text().split(f'figure == "{name}" %}}')[1].split("{% el")[0].split("{% endif")[0]
    # however the lines are filled
    assert "{{ dataset }}" in " ".join(branch.split())
    assert 4 <= branch.count(". ") + branch.count(".\n") <= 12


def test_long_names_are_within_the_figure(name):
    found = found_in(name)
    long = {"groups", "names", "changes"} & found.keys()
    longer = {
        key: np.array([f"A long name of a cell type, number {k}" for k in range(len(found[key]))]) for key in long
    }
    names = [f"A long name of a cluster, number {k}" for k in range(3)]
    result = made_up(clusters=names)
    figure = figures.load(name, of=FOLDER)(result, found | longer, style=figures.Style())
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


@pytest.mark.parametrize("figure", ["field", "topography"])
def test_streamlines_lie_on_top_of_cells_and_only_near_them(figure):
    (axes,) = drawn(figure).axes
    cells = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    (lines,) = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    assert min(lines.zorder, *(arrow.zorder for arrow in axes.patches)) > max(artist.zorder for artist in cells)
    points = np.concatenate(lines.get_segments())
    # a step of the grid beyond what is near
    assert np.abs(points[:, 1]).max() < 0.6 + 2 / 30
    assert np.ptp(points[:, 0]) > 1


@pytest.mark.parametrize("figure", ["field", "topography"])
@pytest.mark.parametrize("nothing", [{"near_cells": np.zeros((31, 41), bool)}, {"vectors": np.zeros((31, 41, 2))}])
def test_a_field_of_which_nothing_is_near_cells_or_moves_can_be_drawn(figure, nothing, tmp_path):
    figures.save(drawn(figure, **nothing), tmp_path / "figure.pdf", 50)


def test_streamlines_are_wider_where_the_field_is_faster():
    (lines,) = [artist for artist in drawn("field").axes[0].collections if isinstance(artist, LineCollection)]
    middles = np.array([segment.mean(axis=0) for segment in lines.get_segments()])
    speed = np.hypot(middles[:, 0] - 2 * middles[:, 0] ** 3, middles[:, 1])
    widths = np.broadcast_to(lines.get_linewidths(), len(speed))
    assert np.corrcoef(speed, widths)[0, 1] > 0.9


def test_fixed_points_have_markers_by_kind():
    figure = drawn("topography")
    markers = markers_of(figure.axes[0])
    np.testing.assert_allclose([line.get_xydata()[0] for line in markers], found_in("topography")["places"], atol=1e-12)
    filled = [(line.get_fillstyle(), to_hex(line.get_markerfacecolor())) for line in markers]
    attractor, saddle, repeller = ("full", "#1a1a1a"), ("left", "#1a1a1a"), ("full", "#ffffff")
    assert filled == [attractor, saddle, attractor, repeller]
    assert legend_of(figure) == {
        *NAMES, "attractor", "saddle", "repeller", "far from cells",
        "nullcline of UMAP 1", "nullcline of UMAP 2", "separatrix",
    }  # fmt: skip


def test_fixed_points_are_larger_the_more_is_known_and_all_within_the_panel():
    axes = drawn("topography").axes[0]
    sizes = [line.get_markersize() for line in markers_of(axes)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == topography.DIAMETERS[1]
    # no confidence is known of the last
    assert sizes[-1] == topography.DIAMETERS[0]
    assert axes.get_xlim() == (-1.2, 1.2)
    assert axes.get_ylim() == (-1, 1)


def test_lines_end_where_there_are_no_cells():
    found = found_in("topography")
    near = topography.lines_near_cells(found, "separatrices")
    np.testing.assert_array_equal(np.isfinite(near[:, 0]), [True, True, False, False, True, False])
    # nothing of what was found is changed
    assert np.isfinite(found["separatrices"]).all(axis=1).sum() == 5


def test_a_field_without_fixed_points_says_so():
    figure = drawn(
        "topography",
        places=NO_LINE,
        kinds=np.empty(0, "U1"),
        confidence=np.empty(0),
        nullcline_x=NO_LINE,
        nullcline_y=NO_LINE,
        separatrices=NO_LINE,
    )
    assert not markers_of(figure.axes[0])
    assert legend_of(figure) == {*NAMES, "no fixed point"}


def test_geometry_has_a_panel_for_each_value_and_grey_cells_without_one():
    figure = drawn("geometry")
    panels = panels_of(figure)
    assert [axes.get_title() for axes in panels] == [
        "speed", "acceleration", "curvature", "divergence", "divergence on the embedding", "curl on the embedding",
        "holds to the field",
    ]  # fmt: skip
    for axes in panels[:-1]:
        below, above = axes.collections
        assert len(below.get_offsets()) == 2
        assert {to_hex(color) for color in below.get_facecolors()} == {UNKNOWN.lower()}
        assert below.zorder < above.zorder


def test_divergence_and_curl_have_colours_that_are_symmetric_about_zero():
    found = np.append(np.linspace(-1, 10, 89), 500.0)
    figure = drawn("geometry", divergence=found, curl_embedding=found)
    limits = {axes.get_ylabel(): axes.get_ylim() for axes in figure.axes if axes.get_label() == "<colorbar>"}
    low, high = limits["clockwise < 0 < counterclockwise"]
    assert low == -high
    assert 9 < high < 11


def test_a_value_that_no_cell_has_is_all_grey():
    figure = drawn("geometry", curvature=np.full(90, np.nan))
    (cells,) = next(axes for axes in figure.axes if axes.get_title() == "curvature").collections
    assert {to_hex(color) for color in cells.get_facecolors()} == {UNKNOWN.lower()}


def test_groups_of_regulation_share_their_colours_and_nan_is_grey():
    found = found_in("regulation")
    values = found["values"].copy()
    values[1, 2] = np.nan
    figure = drawn("regulation", values=values)
    panels = panels_of(figure)
    assert [axes.get_title() for axes in panels] == list(found["groups"])
    for axes, matrix in zip(panels, values, strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array().filled(np.nan), matrix)
        limit = np.nanmax(np.abs(values))
        assert image.get_clim() == (-limit, limit)
        assert to_hex(axes.get_facecolor()) == UNKNOWN.lower()
        # of what is not known nothing is drawn upon it, and it is not the colour of 0
        assert image.cmap.get_bad()[3] == 0
        assert np.abs(np.array(image.to_rgba(0.0)) - to_rgba(UNKNOWN)).max() > 0.08
        assert [label.get_text() for label in axes.get_yticklabels()] == ["Gcg", "Ins1", "Pdx1"]
    assert figure.get_supxlabel() == "regulator"
    assert figure.get_supylabel() == "effector"


def test_colours_of_many_values_end_at_their_99th_percentile():
    values = np.random.default_rng(0).normal(size=(3, 20, 20))
    values[0, 0, 0] = 1e6
    assert regulation.colour_limit(values) == pytest.approx(np.percentile(np.abs(values), 99))
    assert regulation.colour_limit(values[:, :2, :2]) == 1e6
    assert regulation.colour_limit(np.zeros((1, 2, 2))) == 1
    assert np.isnan(regulation.colour_limit(np.full((1, 2, 2), np.nan)))


def test_at_most_twelve_groups_are_drawn_and_the_title_says_of_how_many():
    groups = np.array([f"group {k}" for k in range(15)])
    figure = drawn("regulation", groups=groups, values=np.random.default_rng(0).normal(size=(15, 3, 3)))
    assert [axes.get_title() for axes in panels_of(figure)] == list(groups[:12])
    assert "12 of 15 groups" in figure.get_suptitle()
    assert "groups" not in drawn("regulation").get_suptitle()


def courses_of(axes):
    return [line for line in axes.lines if line.get_linestyle() != "None"]


def test_whole_courses_have_the_colours_of_the_clusters_they_start_in():
    figure = drawn("trajectories")
    whole = panels_of(figure)[0]
    assert len(panels_of(figure)) == 5
    assert [to_hex(line.get_color()) for line in courses_of(whole)] == ["#990000", "#009900", "#000099"]
    starts, ends = markers_of(whole)[::2], markers_of(whole)[1::2]
    found = found_in("trajectories")
    np.testing.assert_allclose([line.get_xydata()[0] for line in starts], found["places"][:, 0])
    np.testing.assert_allclose([line.get_xydata()[0] for line in ends], found["places"][:, -1])
    # time was up for the first: a triangle, that points to where it goes
    assert [end.get_marker() for end in ends[1:]] == ["s", "s"]
    assert ends[0].get_marker()[:2] == (3, 0)


def test_steps_show_where_the_cells_are_by_then():
    figure = drawn("trajectories")
    found = found_in("trajectories")
    for axes, share in zip(panels_of(figure)[1:], (0.25, 0.5, 0.75, 1), strict=True):
        # the speed is even, and times are up to 4, 2 and 1
        parts = np.minimum(share * 4 / np.array([4, 2, 1]), 1)[:, None]
        by_then = found["places"][:, 0] + parts * (found["places"][:, -1] - found["places"][:, 0])
        np.testing.assert_allclose([line.get_xydata()[0] for line in markers_of(axes)], by_then)
        np.testing.assert_allclose([line.get_xydata()[-1] for line in courses_of(axes)], by_then)
    assert "(4)" in panels_of(figure)[4].get_title()


def test_courses_back_in_time_are_drawn_by_the_size_of_their_times():
    figure = drawn("trajectories", times=-found_in("trajectories")["times"])
    assert "origin" in figure.get_suptitle()
    forth = [line.get_xydata() for line in courses_of(panels_of(drawn("trajectories"))[2])]
    for back, line in zip(courses_of(panels_of(figure)[2]), forth, strict=True):
        np.testing.assert_array_equal(back.get_xydata(), line)


@pytest.mark.parametrize(("step", "angle"), [((1, 0), -90), ((0, 1), 0), ((-1, 0), 90), ((0, 0), -90)])
def test_triangles_point_where_a_course_goes(step, angle):
    # a triangle of matplotlib points up before it is turned
    course = np.array([[0, 0], step, step], dtype=float)
    assert trajectories.heading(course) == (3, 0, angle)


def test_paths_have_numbers_and_are_dashed_where_the_search_did_not_end():
    figure = drawn("paths")
    (axes,) = figure.axes
    lines = courses_of(axes)
    assert [line.get_linestyle() for line in lines] == ["-", "--", "--"]
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    for text, line in zip(axes.texts, lines, strict=True):
        distance = np.linalg.norm(line.get_xydata() - text.get_position(), axis=1)
        assert distance.min() < 0.05
        assert text.get_color() == line.get_color()
    # lines of the legend may break anywhere
    labels = {" ".join(text.split()) for text in legend_of(figure)}
    assert labels >= {
        "1 stem to left: action 0.5",
        "2 stem to right: action 0.25, not converged",
        "3 left to right: no action",
    }


def test_numbers_of_paths_on_the_same_way_stay_apart():
    found = found_in("paths")
    axes = drawn("paths", places=found["places"][[0, 0, 0]]).axes[0]
    places = np.array([text.get_position() for text in axes.texts])
    distances = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(3, 1)]
    assert distances.min() > 0.05


def test_a_path_without_places_can_be_drawn(tmp_path):
    places = found_in("paths")["places"].copy()
    places[1] = np.nan
    figure = drawn("paths", places=places)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "3"]
    figures.save(figure, tmp_path / "figure.pdf", 50)


def test_arrows_of_a_perturbation_point_where_it_pushes_and_are_only_there():
    figure = drawn("perturbation")
    (axes,) = figure.axes
    (quiver,) = (artist for artist in axes.collections if isinstance(artist, Quiver))
    np.testing.assert_allclose(quiver.V / quiver.U, 0.5, rtol=1e-6)
    # of the right half of the cells nothing changes, up to a few steps of the grid
    assert quiver.X.min() < -0.8
    assert quiver.X.max() < 0.3
    assert axes.get_title() == "Gcg: absolute -100; Arx: fold 0"
    assert "no_gcg" in figure.get_suptitle()


def test_cells_without_an_effect_known_do_not_count():
    arrows = found_in("perturbation")["arrows"].copy()
    arrows[:20] = np.nan
    (quiver,) = (a for a in drawn("perturbation", arrows=arrows).axes[0].collections if isinstance(a, Quiver))
    assert np.isfinite(quiver.U).all()
    assert len(quiver.U)


@pytest.mark.parametrize(
    ("figure", "changes", "words"),
    [
        ("perturbation", {"arrows": np.zeros((90, 2))}, "Gcg: absolute -100; Arx: fold 0: no cell would move"),
        ("perturbation", {"arrows": np.full((90, 2), np.nan)}, "no cell would move"),
        ("regulation", {"values": np.full((4, 3, 3), np.nan)}, "no gene has a part"),
        ("regulation", {"genes": np.empty(0, "U1"), "values": np.empty((4, 0, 0))}, "no gene has a part"),
        (
            "trajectories",
            {"cells": np.empty(0, int), "places": np.empty((0, 9, 2)), "times": np.empty((0, 9))},
            "no cells were chosen",
        ),
        ("paths", {"names": np.empty(0, "U1")}, "no paths were asked for"),
    ],
)
def test_what_there_is_nothing_of_is_said_in_words(figure, changes, words):
    assert words in words_of(drawn(figure, **changes))
