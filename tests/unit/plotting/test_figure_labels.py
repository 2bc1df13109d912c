"""Labels of figures belong to the data that are drawn: titles, axes, colorbars, legends, names and captions.

Each test compares the data of the drawn artist with the column that the label names. Column names and labels are
written out here and are not imported from the figures, so that a label that moves to another column fails a test.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import FancyArrowPatch
from matplotlib.quiver import Quiver
from scipy import sparse
from scipy.interpolate import RegularGridInterpolator
from support.results import CLUSTERS, COLORS, simulated_result
from veloshard import plotting
from veloshard.analysis.terminal_states import compute_terminal_states
from veloshard.graph.confidence import compute_confidence
from veloshard.graph.velocity_embedding import velocity_grid
from veloshard.plotting.result import genes, likelihood, parameters, ranking

STYLE = plotting.Style(panel_size=2.0, dpi=50)
REPORT = Path(__file__).parents[3] / "workflow/report"


def draw_figure(name, result, group="result", **options):
    return plotting.load(name, group)(result, style=STYLE, **options)


def data_panels(figure):
    """Return the axes of a figure without those of colorbars."""
    return [axes for axes in figure.axes if not hasattr(axes, "_colorbar")]


def colorbars(figure):
    """Return (panel, label, mappable) of each colorbar."""
    bars = [axes for axes in figure.axes if hasattr(axes, "_colorbar")]
    return [(axes._colorbar_info["parents"][0], axes.get_ylabel(), axes._colorbar.mappable) for axes in bars]


def points(axes):
    """Return coordinates and RGBA colors of all points of a panel, sorted by coordinates."""
    scatters = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    coordinates = np.vstack([np.asarray(artist.get_offsets()) for artist in scatters])
    colors = np.vstack(
        [np.broadcast_to(artist.get_facecolors(), (len(artist.get_offsets()), 4)) for artist in scatters]
    )
    order = np.lexsort(coordinates.T)
    return coordinates[order], colors[order]


def assert_colored_by(panel, mappable, coordinates, values):
    """Assert that the points of a panel are cells with the colors of their values."""
    order = np.lexsort(np.asarray(coordinates).T)
    drawn_coordinates, drawn_colors = points(panel)
    np.testing.assert_allclose(drawn_coordinates, np.asarray(coordinates)[order])
    np.testing.assert_allclose(drawn_colors, mappable.to_rgba(np.asarray(values)[order]))
    assert len(np.unique(drawn_colors, axis=0)) > 10


def legend_colors(figure):
    """Return the colors of the legend by label."""
    (legend,) = figure.legends
    return {
        text.get_text(): to_hex(handle.get_facecolor() if hasattr(handle, "get_facecolor") else handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }


def tick_positions(axes):
    """Return the positions of the y ticks by the first word of their labels; numbers of cells are left out."""
    labels = [text.get_text() for text in axes.get_yticklabels()]
    return dict(zip([re.sub(r" \(\d+\)$", "", label) for label in labels], axes.get_yticks(), strict=True))


@pytest.mark.parametrize(
    ("figure", "columns"),
    [
        ("terminal_states", {"Root cells": "root_cells", "End points": "end_points"}),
        (
            "confidence",
            {
                "Confidence": "velocity_confidence",
                "Length": "velocity_length",
                "Agreement of posterior draws": "velocity_resultant",
            },
        ),
        ("latent_time", {"Velocity pseudotime": "velocity_pseudotime"}),
        ("latent_time", {"Latent time": "latent_time"}),
    ],
)
def test_cells_have_the_colors_of_the_column_that_the_colorbar_names(figure, columns):
    result = simulated_result()
    rng = np.random.default_rng(5)
    for column in set(columns.values()) - set(result.obs):
        result.obs[column] = rng.random(len(result.obs))
    drawn = colorbars(draw_figure(figure, result))
    assert [label for _, label, _ in drawn] == list(columns)
    for panel, label, mappable in drawn:
        assert_colored_by(panel, mappable, result.obsm["X_umap"], result.obs[columns[label]])


def test_colors_of_the_confidence_end_at_the_2nd_and_98th_percentile():
    result = simulated_result()
    for _, label, mappable in colorbars(draw_figure("confidence", result)):
        values = result.obs[{"Confidence": "velocity_confidence", "Length": "velocity_length"}[label]]
        np.testing.assert_allclose(mappable.get_clim(), np.percentile(values, [2, 98]))


def test_velocity_and_expression_of_a_gene_have_the_colors_of_their_layers():
    result = simulated_result()
    figure = draw_figure("genes", result, genes=["GeneA"])
    drawn = colorbars(figure)
    assert [label for _, label, _ in drawn] == ["velocity", "spliced"]
    for panel, label, mappable in drawn:
        values = result.layers[{"velocity": "velocity", "spliced": "Ms"}[label]][:, 0]
        assert_colored_by(panel, mappable, result.obsm["X_umap"], values)
    # red for positive velocities
    (_, _, velocity_colors), _ = drawn
    red, _, blue, _ = velocity_colors.to_rgba(velocity_colors.get_clim()[1])
    assert red > blue


@pytest.mark.parametrize("figure", ["genes", "phase_portraits", "differential_kinetics"])
def test_the_axes_of_a_phase_portrait_are_spliced_and_unspliced(figure):
    result = simulated_result()
    result.layers["Mu"] *= np.linspace(0.5, 1, len(result.obs))[:, None]
    for axes in data_panels(draw_figure(figure, result)):
        if axes.get_title():
            gene = re.match(r"\w+", axes.get_title())[0]
            layers = {"spliced": "Ms", "unspliced": "Mu"}
            abundances = [
                result.layers[layers[label]][:, result.var.index.get_loc(gene)]
                for label in (axes.get_xlabel(), axes.get_ylabel())
            ]
            coordinates, _ = points(axes)
            np.testing.assert_allclose(coordinates, np.column_stack(abundances)[np.lexsort(abundances)])


def test_induction_and_repression_are_labeled():
    figure = draw_figure("phase_portraits", simulated_result(), genes=["GeneA"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    induction, repression = (lines[name].get_xydata() for name in ("induction", "repression"))
    # both branches meet at the switch; induction starts at zero and is above the steady state
    np.testing.assert_allclose(induction[0], 0)
    np.testing.assert_allclose(induction[-1], repression[0])
    slope = lines["steady state"].get_slope()
    spliced, unspliced = induction[1:-1].T
    assert (unspliced > slope * spliced).all()
    spliced, unspliced = repression[-50:].T
    assert (unspliced < slope * spliced).all()
    for name, color in legend_colors(figure).items():
        if name in lines:
            assert to_hex(lines[name].get_color()) == color


@pytest.mark.parametrize(
    ("dynamical", "label", "column"), [(True, "likelihood", "fit_likelihood"), (False, "R²", "velocity_r2")]
)
def test_titles_of_phase_portraits_have_the_goodness_of_fit_of_the_gene(dynamical, label, column):
    result = simulated_result(dynamical=dynamical)
    titles = [axes.get_title() for axes in data_panels(draw_figure("phase_portraits", result))]
    assert sorted(titles) == [f"{gene}\n{label} {result.var.loc[gene, column]:.2f}" for gene in ("GeneA", "GeneB")]


def test_titles_of_differential_kinetics_have_the_p_value_of_the_gene():
    titles = [axes.get_title() for axes in data_panels(draw_figure("differential_kinetics", simulated_result()))]
    assert titles == ["GeneB\np = 1e-09", "GeneA\np = 0.0001"]


def test_bars_are_the_mean_proportions_of_the_layers_in_the_legend():
    result = simulated_result()
    result.obs["initial_size_unspliced"] *= np.linspace(0.6, 1, len(result.obs))
    figure = draw_figure("proportions", result)
    (axes,) = figure.axes
    positions, colors = tick_positions(axes), legend_colors(figure)
    assert list(positions) == ["all cells", *CLUSTERS]
    sizes = result.obs[["initial_size_spliced", "initial_size_unspliced"]].to_numpy()
    proportions = sizes / sizes.sum(axis=1, keepdims=True)
    for group, height in positions.items():
        cells = (result.obs["clusters"] == group).to_numpy() if group in CLUSTERS else slice(None)
        expected = dict(zip(("spliced", "unspliced"), proportions[cells].mean(axis=0), strict=True))
        bars = [bar for bar in axes.patches if bar.get_y() < height < bar.get_y() + bar.get_height()]
        widths = {to_hex(bar.get_facecolor()): bar.get_width() for bar in bars}
        assert widths == pytest.approx({colors[layer]: share for layer, share in expected.items()})
        # the percentage is written into its own bar
        for layer, share in expected.items():
            (bar,) = [bar for bar in bars if to_hex(bar.get_facecolor()) == colors[layer]]
            texts = [text for text in axes.texts if bar.contains_point(axes.transData.transform(text.get_position()))]
            assert [text.get_text() for text in texts] == [f"{share:.0%}"]
    # the colored dots next to the names are those of the clusters
    coordinates, dot_colors = points(axes)
    for (_, height), color in zip(coordinates, dot_colors, strict=True):
        (name,) = [name for name, position in positions.items() if position == height]
        assert to_hex(color) == COLORS[CLUSTERS.index(name)]


def test_lines_of_the_quality_figure_are_medians_and_bounds_of_the_column_on_the_axis():
    result = simulated_result()
    rng = np.random.default_rng(1)
    # skewed, so that the median is neither the mean nor the middle of the range
    result.obs["initial_size_spliced"] = rng.lognormal(7, 1, len(result.obs))
    result.obs["n_genes"] = rng.lognormal(5, 1, len(result.obs)).round()
    bounds = {"min_counts": 321, "min_genes": 123, "min_unspliced_fraction": 0.12, "max_unspliced_fraction": 0.34}
    panels = {axes.get_xlabel(): axes for axes in draw_figure("quality", result, **bounds).axes}
    counts = result.obs["initial_size_spliced"] + result.obs["initial_size_unspliced"]
    columns = {
        "counts per cell, spliced and unspliced": (counts, "min_counts"),
        "genes per cell": (result.obs["n_genes"], "min_genes"),
    }
    for label, (values, bound) in columns.items():
        axes = panels.pop(label)
        lines = {line.get_linestyle(): line.get_xdata()[0] for line in axes.lines}
        assert lines == pytest.approx({"-": np.median(values), "--": bounds[bound]})
        heights = np.array([bar.get_height() for bar in axes.patches])
        edges = [bar.get_x() for bar in axes.patches] + [axes.patches[-1].get_x() + axes.patches[-1].get_width()]
        np.testing.assert_array_equal(heights, np.histogram(values, edges)[0])
        assert heights.sum() == len(values)
    ((label, axes),) = panels.items()
    assert label == "unspliced fraction per cell (dot: mean)"
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed == [bounds["min_unspliced_fraction"], bounds["max_unspliced_fraction"]]


def test_boxes_and_dots_of_the_quality_figure_are_those_of_the_cluster_on_the_axis():
    result = simulated_result()
    result.obs["unspliced_fraction"] = np.linspace(0.1, 0.6, len(result.obs)) ** 2
    axes = draw_figure("quality", result).axes[2]
    positions = tick_positions(axes)
    means = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
    for group, height in positions.items():
        cells = result.obs["clusters"] == group if group in CLUSTERS else slice(None)
        values = result.obs["unspliced_fraction"][cells]
        assert means[height] == pytest.approx(values.mean())
        (box,) = [patch for patch in axes.patches if patch.get_path().get_extents().contains(values.median(), height)]
        np.testing.assert_allclose(box.get_path().get_extents().intervalx, values.quantile([0.25, 0.75]))
        assert to_hex(box.get_facecolor()) == (COLORS[CLUSTERS.index(group)] if group in CLUSTERS else "#9a9a9a")


def test_streamlines_are_wider_where_cells_move_faster():
    result = simulated_result(n_cells=400)
    embedding = result.obsm["X_umap"]
    # speed increases along the first dimension
    speed = 0.1 + (embedding[:, 0] - embedding[:, 0].min()) / np.ptp(embedding[:, 0])
    result.obsm["velocity_umap"] = np.column_stack([speed, np.zeros(len(speed))])
    axes = draw_figure("stream", result).axes[0]
    (lines,) = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    starts = np.array([segment[0] for segment in lines.get_segments()])
    # 0.5 points at speed 0 and 1.7 points at the highest speed
    grid = velocity_grid(embedding, result.obsm["velocity_umap"])
    speed = np.hypot(*grid.vectors)
    # a start at the edge is outside of the grid by a rounding error
    interpolate = RegularGridInterpolator((grid.y, grid.x), speed, bounds_error=False, fill_value=None)
    speed_at_starts = interpolate(starts[:, ::-1])
    np.testing.assert_allclose(lines.get_linewidths(), 0.5 + 1.2 * speed_at_starts / speed.max(), rtol=1e-6)
    assert np.ptp(lines.get_linewidths()) > 0.8


def test_arrows_are_the_velocities_of_the_cells_at_which_they_start():
    result = simulated_result()
    rng = np.random.default_rng(2)
    result.obsm["velocity_umap"] = rng.normal(size=(len(result.obs), 2))
    (quiver,) = [a for a in draw_figure("arrows", result).axes[0].collections if isinstance(a, Quiver)]
    np.testing.assert_allclose(np.column_stack([quiver.X, quiver.Y]), result.obsm["X_umap"])
    drawn = np.column_stack([quiver.U, quiver.V])
    scale = np.linalg.norm(drawn) / np.linalg.norm(result.obsm["velocity_umap"])
    np.testing.assert_allclose(drawn, scale * result.obsm["velocity_umap"])
    # a darker shade of the color of the cluster
    codes = result.obs["clusters"].cat.codes.to_numpy()
    np.testing.assert_allclose(
        quiver.get_facecolor()[:, :3], 0.6 * np.array([to_rgba(COLORS[code])[:3] for code in codes])
    )


def test_grid_arrows_are_longer_where_cells_move_faster():
    result = simulated_result(n_cells=400)
    x, _ = result.obsm["X_umap"].T
    result.obsm["velocity_umap"] = np.column_stack([0.1 + (x - x.min()) / np.ptp(x), np.zeros(len(x))])
    (quiver,) = [a for a in draw_figure("grid", result).axes[0].collections if isinstance(a, Quiver)]
    # the averages also decrease where there are few cells, but less than the velocities differ
    left, right = np.quantile(quiver.X, 0.25) > quiver.X, np.quantile(quiver.X, 0.75) < quiver.X
    assert np.median(quiver.U[right]) > 2 * np.median(quiver.U[left])


def test_numbers_of_paga_nodes_are_those_of_the_legend():
    result = simulated_result()
    figure = draw_figure("paga", result)
    (axes,) = figure.axes
    positions = {text.get_text(): text.get_position() for text in axes.texts}
    colors = legend_colors(figure)
    for number, (name, color) in enumerate(zip(CLUSTERS, COLORS, strict=True), start=1):
        assert colors[f"{number} {name}"] == color
        cells = result.obs["clusters"] == name
        np.testing.assert_allclose(positions[str(number)], np.median(result.obsm["X_umap"][cells], axis=0))
    # the legend has the line width of the widest arrow with its confidence
    (legend,) = figure.legends
    widths = {
        text.get_text(): handle.get_linewidth()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert widths["confidence 0.4"] == max(arrow.get_linewidth() for arrow in arrows)


def test_dots_of_the_ranking_are_the_scores_of_the_genes_on_the_axis():
    result = simulated_result()
    table = result.uns["rank_velocity_genes"]
    for axes in draw_figure("ranking", result, n_genes=2).axes:
        cluster = axes.get_title()
        scores = dict(zip(table["names"][cluster], table["scores"][cluster], strict=True))
        positions = tick_positions(axes)
        assert list(positions) == ["GeneA", "GeneB"]
        drawn = {height: score for score, height in points(axes)[0]}
        assert {gene: drawn[height] for gene, height in positions.items()} == scores
        # filled where the q-value is below 0.05, although the p-value of both genes is
        filled = {height: color for (_, height), color in zip(*points(axes), strict=True)}
        assert [to_hex(filled[positions[gene]]) for gene in scores] == [COLORS[CLUSTERS.index(cluster)], "#ffffff"]


def test_ticks_of_the_heatmap_are_the_times_of_the_cells_below():
    result = simulated_result()
    result.obs["velocity_pseudotime"] **= 3
    axes = next(axes for axes in data_panels(draw_figure("heatmap", result)) if axes.images)
    times = np.sort(result.obs["velocity_pseudotime"])
    assert axes.get_xlabel().startswith("velocity pseudotime")
    ticks = axes.get_xticks().astype(int)
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{time:.2g}" for time in times[ticks]]


@pytest.mark.parametrize("peaks", [(0.3, 0.8), (0.8, 0.3)])
def test_rows_of_the_heatmap_are_the_genes_on_the_axis(peaks):
    result = simulated_result()
    time = result.obs["velocity_pseudotime"].to_numpy()
    result.layers["Ms"] = np.column_stack([np.exp(-((time - peak) ** 2) / 0.02) for peak in (*peaks, 0.5)])
    axes = next(axes for axes in data_panels(draw_figure("heatmap", result)) if axes.images)
    rows = dict(zip([text.get_text() for text in axes.get_yticklabels()], axes.images[0].get_array(), strict=True))
    for gene, peak in zip(("GeneA", "GeneB"), peaks, strict=True):
        assert time[np.argmax(rows[gene])] == pytest.approx(peak, abs=0.05)
    # the earliest peak is the highest row
    assert list(rows) == [("GeneA", "GeneB")[number] for number in np.argsort(peaks)]


def test_the_strip_of_the_heatmap_shows_the_clusters_of_the_cells_below():
    figure = draw_figure("heatmap", simulated_result())
    strip = figure.axes[0]
    colors = legend_colors(figure)
    middles = []
    for band in strip.collections:
        vertices = np.vstack([path.vertices for path in band.get_paths()])
        inside = vertices[:, 1] > 0.5
        middles.append(np.median(vertices[inside, 0]) if inside.any() else np.nan)
    assert [to_hex(band.get_facecolor()[0]) for band in strip.collections] == [colors[name] for name in CLUSTERS]
    # cells of a cluster are consecutive in time
    first_band = np.vstack([path.vertices for path in strip.collections[0].get_paths()])
    assert first_band[first_band[:, 1] > 0.9, 0].max() < 60


@pytest.mark.parametrize(
    ("dynamical", "label", "column"), [(True, "likelihood", "fit_likelihood"), (False, "R²", "velocity_r2")]
)
def test_the_axis_of_the_goodness_of_fit_names_the_column(dynamical, label, column):
    result = simulated_result(dynamical=dynamical)
    result.var.loc["Silent", column] = 0.1
    figure = draw_figure("likelihood", result)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rank of the gene", label)
    scores = result.var[column].sort_values(ascending=False)
    coordinates, colors = points(axes)
    np.testing.assert_allclose(coordinates[np.argsort(coordinates[:, 0])], np.column_stack([[1, 2, 3], scores]))
    # colors of the legend, which counts the genes
    legend = legend_colors(figure)
    for (rank, _), color in zip(coordinates, colors, strict=True):
        name = "velocity gene (2)" if result.var["velocity_genes"][scores.index[int(rank) - 1]] else "other gene (1)"
        assert to_hex(color) == legend[name]
    # names point to the score of their gene
    for annotation in axes.texts:
        rank, score = annotation.xy
        assert scores.index[rank - 1] == annotation.get_text()
        assert score == scores[annotation.get_text()]


def test_each_histogram_of_parameters_is_of_the_column_on_its_axis():
    labels = {
        "transcription rate α": "fit_alpha",
        "splicing rate β": "fit_beta",
        "degradation rate γ": "fit_gamma",
        "switching time": "fit_t_",
        "scaling of unspliced": "fit_scaling",
        "likelihood": "fit_likelihood",
        "steady-state ratio γ": "velocity_gamma",
        "R² of the line": "velocity_r2",
    }
    rng = np.random.default_rng(3)
    var = pd.DataFrame({"velocity_genes": np.arange(200) % 4 == 0})
    # the ranges of two columns do not overlap
    for number, column in enumerate(labels.values(), start=1):
        var[column] = 10**number * rng.uniform(1, 2, len(var))
    figure = draw_figure("parameters", SimpleNamespace(obs=pd.DataFrame(), var=var, uns={}))
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert set(panels) == set(labels)
    colors = legend_colors(figure)
    for label, column in labels.items():
        bars = panels[label].patches
        left, right = min(bar.get_x() for bar in bars), max(bar.get_x() + bar.get_width() for bar in bars)
        np.testing.assert_allclose([left, right], np.percentile(var[column], [1, 99]))
        n_genes = {}
        for bar in bars:
            color = to_hex(bar.get_facecolor())
            n_genes[color] = n_genes.get(color, 0) + bar.get_height()
        assert n_genes == {colors["all genes"]: 200, colors["velocity genes"]: 50}
        assert panels[label].get_ylabel() == "genes"


MEASURES = {
    "cosine of velocities": "cosine",
    "rank correlation over genes": "rank_of_genes",
    "rank correlation over cells": "rank_of_cells",
    "sign of velocities": "sign",
    "velocity pseudotime": "velocity_pseudotime",
    "latent time": "latent_time",
    "time of the model": "model_time",
    "end points": "end_cells",
}


def simulated_comparison():
    """Return a comparison of three methods and the truth, in which all values differ."""
    rng = np.random.default_rng(4)
    names = ["m0", "m1", "m2", "(truth)"]
    pairs = pd.DataFrame(
        [
            {
                "method": names[i],
                "other": names[j],
                **dict(zip(MEASURES.values(), rng.random(len(MEASURES)), strict=True)),
            }
            for i in range(len(names))
            for j in range(i + 1, len(names))
        ]
    )
    columns = ["(all)", *names[:3], *(f"{name} (truth)" for name in names[:3])]
    return SimpleNamespace(
        pairs=pairs,
        obs=pd.DataFrame({column: rng.uniform(-1, 1, 40) for column in columns}),
        obsm={"X_umap": rng.normal(size=(40, 2))},
        uns={"velocity_params": {"dataset": "liver", "embedding": "umap"}},
    )


def test_each_matrix_of_agreement_is_of_the_measure_in_its_title():
    comparison = simulated_comparison()
    figure = draw_figure("agreement", comparison, "comparison")
    panels = {axes.get_title(): axes for axes in data_panels(figure)}
    assert set(panels) == set(MEASURES)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    for title, column in MEASURES.items():
        values = np.asarray(panels[title].images[0].get_array().filled(np.nan))
        assert [text.get_text() for text in panels[title].get_xticklabels()] == names
        for row in comparison.pairs.to_dict("records"):
            i, j = names.index(row["method"]), names.index(row["other"])
            assert values[i, j] == values[j, i] == row[column]
        # the number in a square is its value
        written = {text.get_position(): text.get_text() for text in panels[title].texts}
        assert written[1, 0] == f"{values[0, 1]:.2f}".removeprefix("0")
    (bar,) = [axes for axes in figure.axes if hasattr(axes, "_colorbar")]
    ticks = dict(zip([text.get_text() for text in bar.get_yticklabels()], bar.get_yticks(), strict=True))
    assert ticks == {"opposite": -1, "by chance": 0, "identical": 1}


def test_each_map_of_agreement_is_of_the_methods_in_its_title():
    comparison = simulated_comparison()
    columns = {"all methods": "(all)"}
    columns |= {f"m{i} with the others": f"m{i}" for i in range(3)}
    columns |= {f"m{i} with the truth": f"m{i} (truth)" for i in range(3)}
    drawn = colorbars(draw_figure("cell_agreement", comparison, "comparison"))
    assert [panel.get_title() for panel, _, _ in drawn] == list(columns)
    for panel, label, mappable in drawn:
        assert label == "cosine"
        assert_colored_by(panel, mappable, comparison.obsm["X_umap"], comparison.obs[columns[panel.get_title()]])


def caption_of(figure, file="figure.rst"):
    """Return the caption of a figure as one line, without markup."""
    branch = (REPORT / file).read_text(encoding="utf-8").split(f'figure == "{figure}" %}}')[1].split("{% e")[0]
    return " ".join(branch.replace("**", "").replace("{{ dataset }}", "D").replace("*{{ method }}*", "M").split())


QUANTITIES = {
    "stream": "Streamlines of the velocities",
    "grid": "Mean velocity of the cells at the points of a regular grid",
    "arrows": "Velocities of single cells",
    "paga": "Clusters of D at the median of their cells",
    "latent_time": "Time of the cells of D by method M: latent time",
    "terminal_states": "Scores of root cells and end points",
    "confidence": "Confidence and length of the velocities",
    "phase_portraits": "Unspliced against spliced abundance of single genes",
    "genes": "Genes of D, one row per gene: the phase portrait with the fit of method M, the velocity and the spliced",
    "heatmap": "Spliced abundance of the best-fitted velocity genes of D along the time",
    "ranking": "Genes with the highest scores in each cluster",
    "differential_kinetics": "Genes of D with clusters that do not fit the curve",
    "parameters": "Distributions of the parameters",
    "likelihood": "Genes of D ranked by how well method M fits them: by likelihood, or by the R²",
    "proportions": "Mean proportions of spliced and unspliced counts",
    "quality": "Counts and genes per cell of D, with the median as a solid line, and unspliced fractions by cluster",
}


@pytest.mark.parametrize("figure", plotting.names())
def test_a_caption_starts_with_the_quantity_that_the_figure_shows(figure):
    assert caption_of(figure).startswith(QUANTITIES[figure])


@pytest.mark.parametrize(
    ("figure", "phrase", "numbers"),
    [
        ("genes", r"the (\d+)th percentile", [genes.PERCENTILE]),
        ("ranking", r"q-value below ([\d.]+)", [ranking.SIGNIFICANT]),
        ("parameters", r"(\d+)st and (\d+)th percentile", parameters.LIMITS),
        ("likelihood", r"R² below (-[\d.]+\d) is not", [likelihood.LOWEST_SCORE]),
    ],
)
def test_numbers_in_captions_are_those_of_the_figures(figure, phrase, numbers):
    match = re.search(phrase, caption_of(figure))
    assert [float(number) for number in match.groups()] == list(numbers)


def test_the_caption_says_which_state_is_along_the_velocities():
    # cells in a row, whose velocities point to the next cell
    next_cell = sparse.diags_array(np.ones(29, np.float32), offsets=1, format="csr")
    graph, distances = sparse.csr_matrix(next_cell - next_cell.T), sparse.csr_matrix(next_cell + next_cell.T)
    states = compute_terminal_states(graph, distances)
    assert states.root_cells.argmax() < 3
    assert states.end_points.argmax() > 26
    assert "against the velocities of method M (root cells) and along them (end points)" in caption_of(
        "terminal_states"
    )


def test_the_caption_says_how_confidence_and_length_are_computed():
    rng = np.random.default_rng(6)
    velocity, everyone = rng.normal(size=(5, 8)).astype(np.float32), sparse.csr_matrix(np.ones((5, 5)) - np.eye(5))
    confidence, length = compute_confidence(velocity, everyone)
    correlations = np.corrcoef(velocity)
    np.testing.assert_allclose(confidence, np.maximum((correlations.sum(axis=1) - 1) / 4, 0), rtol=1e-5)
    np.testing.assert_allclose(
        length, np.linalg.norm(velocity - velocity.mean(axis=1, keepdims=True), axis=1), rtol=1e-5
    )
    caption = caption_of("confidence")
    assert "Confidence is the mean correlation of the velocity of a cell with those of its neighbors" in caption
    assert "length is the norm of the velocity over all velocity genes after their mean is subtracted" in caption


def test_the_caption_says_on_which_side_of_the_line_genes_are_induced():
    # see the test of the labels of induction and repression for what is drawn
    caption = caption_of("phase_portraits")
    assert "induced in cells above the dashed steady-state line and repressed in cells below it" in caption
    figure = draw_figure("phase_portraits", simulated_result(), genes=["GeneA"])
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "steady state"]
    assert line.is_dashed()


def test_captions_say_what_is_wider_longer_and_larger():
    # what is drawn: see the tests of streamlines, grid arrows and arrows between clusters
    assert "are wider where cells move faster" in caption_of("stream")
    assert "Longer arrows are faster" in caption_of("grid")
    caption = caption_of("paga")
    assert "nodes of clusters with more cells are larger" in caption
    assert "wider for a higher confidence" in caption
    assert "Dashed lines connect clusters whose cells are neighbors, without a direction" in caption
    result = simulated_result()
    result.obs["clusters"] = pd.Categorical(["stem"] * 60 + ["left"] * 36 + ["right"] * 24, CLUSTERS)
    (nodes,) = [
        artist
        for artist in draw_figure("paga", result).axes[0].collections
        if isinstance(artist, PathCollection) and len(artist.get_offsets()) == 3
    ]
    assert nodes.get_sizes().tolist() == sorted(nodes.get_sizes(), reverse=True)


def test_the_caption_and_the_legend_say_which_line_is_in_the_goodness_of_fit():
    result = simulated_result()
    result.var.loc["Silent", "fit_likelihood"] = 0.9
    figure = draw_figure("likelihood", result)
    (line,) = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert set(line.get_ydata()) == {0.3}
    assert "lowest velocity gene: 0.3" in {text.get_text() for text in figure.legends[0].get_texts()}
    caption = caption_of("likelihood")
    assert "The dashed line is the lowest score of a velocity gene" in caption
    assert "gray genes above it were left out for other reasons" in caption


def test_captions_say_which_lines_and_dots_are_medians_means_and_bounds():
    caption = caption_of("quality")
    assert "with the median as a solid line, and unspliced fractions by cluster, with the mean as a dot" in caption
    assert "Dashed lines are the bounds of the checks" in caption


def test_captions_say_which_genes_and_cells_are_highlighted():
    assert "Filled dots have a q-value below 0.05" in caption_of("ranking")
    assert "Cells of these clusters are colored, all others are gray" in caption_of("differential_kinetics")
    assert "Genes are sorted by their peak, and the strip shows the fractions of the clusters" in caption_of("heatmap")


def test_colors_in_captions_are_those_of_the_figures():
    # positive velocities are red, agreement is blue: see the tests of the colors above
    assert "Spliced RNA increases in red cells and decreases in blue cells" in caption_of("genes")
    assert "Methods agree in blue cells" in caption_of("cell_agreement", "comparison_figure.rst")
    (_, _, mappable), *_ = colorbars(draw_figure("cell_agreement", simulated_comparison(), "comparison"))
    for value, name in ((1, "blue"), (-1, "red")):
        red, _, blue, _ = mappable.to_rgba(value)
        assert (name == "blue") == (blue > red)
    assert "all genes with a value in gray, velocity genes in blue" in caption_of("parameters")
    colors = legend_colors(draw_figure("parameters", simulated_result()))
    red, green, blue, _ = to_rgba(colors["all genes"])
    assert red == green == blue
    red, _, blue, _ = to_rgba(colors["velocity genes"])
    assert red < blue
