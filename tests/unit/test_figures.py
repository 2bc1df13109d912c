"""Figures draw what the result holds, in the colours of the clusters, arrows on top, with the same bytes each time."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.quiver import Quiver
from veloshard import figures
from veloshard.errors import InputError
from veloshard.figures.style import chosen_palette
from veloshard.splicing import spliced_at, unspliced_at

STYLE = figures.Style(panel_size=2.0, dpi=50)
COLORS = ["#ff0000", "#00ff00", "#0000ff"]
NAMES = ["stem", "left", "right"]


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
    else:
        var["velocity_gamma"], var["velocity_r2"] = [0.8, 0.6, 0.0], [0.7, 0.9, -1.0]
    columns = np.column_stack([s, 2 * s, s])
    obs = pd.DataFrame(
        {
            "velocity_pseudotime": time / 12,
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
    places = np.column_stack([time, np.sin(time / 3)]) + 0.2 * rng.normal(size=(n_cells, 2))
    return SimpleNamespace(
        obs=obs,
        var=var,
        uns=uns,
        obsm={"X_umap": places, "velocity_umap": np.tile([0.3, 0.02], (n_cells, 1))},
        layers={"Ms": columns, "Mu": np.column_stack([u * scaling, u, u])},
    )


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
        assert len(both[0]) > 2000


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


def test_an_unknown_gene_is_refused_with_a_guess():
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


def test_an_unknown_figure_is_refused_with_a_guess():
    with pytest.raises(InputError, match="did you mean 'stream'"):
        figures.load("streem")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match="figure.bmp: the suffix must be one of .png, .pdf, .svg"):
        figures.save(drawn("stream", made_up()), tmp_path / "figure.bmp", 50)
