"""The documentation is complete, its links have targets, and its examples work."""

import inspect
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import sparse
from support import browser
from support.counts import two_clusters
from support.results import simulated_result
from veloshard import contract, plotting
from veloshard.kinetics import methods
from veloshard.kinetics.methods import dynamical
from veloshard.kinetics.methods.dynamical import mixture, scvelo
from veloshard.neighborhood import as_neighborhood, averaging_weights

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import generate_methods  # noqa: E402
import generate_options  # noqa: E402

# method and figure that the contributor pages add
EXAMPLES = {"total_ratio", "switching_times"}

OUTPUTS = (DOCS / "outputs.md").read_text()
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if not {"_build", "generated", "method_notes"} & set(path.relative_to(DOCS).parts)
)
MARKDOWN = [
    *PAGES,
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config/README.md",
    ROOT / "benchmarks/README.md",
]


def name_of(path):
    """Return the name of a page from the root of the repository."""
    return str(path.relative_to(ROOT))


def schema_example():
    """Return a schema with all kinds of options."""
    return yaml.safe_load("""
        properties:
          datasets:
            description: The datasets.
            additionalProperties: {$ref: "#/$defs/dataset"}
          methods:
            description: The methods.
            additionalProperties: {properties: {method: {description: Name of the method., type: string}}}
          threshold: {description: A threshold., type: number, exclusiveMinimum: 0, maximum: 1, default: 0.5}
          export:
            description: An optional output.
            default: false
            oneOf:
              - type: boolean
              - type: object
                properties:
                  n_states: {description: A number., type: integer, minimum: 2, maximum: 20}
          refit:
            description: Another optional output.
            type: [boolean, object]
            default: true
            properties:
              times: {description: Numbers., type: array, items: {type: integer}, default: [1, 2]}
          matrix: {description: An output without options., type: [boolean, object], properties: {}, default: false}
          preprocess: {$ref: "#/$defs/preprocess"}
        $defs:
          preprocess:
            description: Steps.
            type: object
            properties:
              mode: {description: A mode., enum: [auto, true], default: auto}
          dataset:
            properties:
              source: {description: "A file, a | b.", type: string}
              preprocess: {$ref: "#/$defs/preprocess"}
              pairs: {description: Pairs., type: array, items: {type: array, maxItems: 2}}
    """)


def test_the_options_page_is_up_to_date():
    page = generate_options.render_page(generate_options.load_schema(), generate_options.load_methods())
    assert generate_options.PAGE.read_text() == page, "run `python docs/generate_options.py`"


def test_each_kind_of_option_is_described():
    description = {"title": "Mine", "kind": "native", "properties": {"k": {"description": "K.", "type": "integer"}}}
    page = generate_options.render_page(schema_example(), {"mine": description})
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `datasets.<name>.source` | string | – | A file, a \\| b. |",
        "| `datasets.<name>.preprocess` | options | – | Steps. |",
        "| `datasets.<name>.pairs` | list of pairs | – | Pairs. |",
        "| `methods.<name>.method` | `mine` | – | Name of the method. |",
        "| `methods.<name>.k` | integer | – | K. |",
        "| `export` | `true` or `false` or options | `false` | An optional output. |",
        "| `export.n_states` | integer, 2 to 20 | – | A number. |",
        "| `refit` | `true` or `false` or options | `true` | Another optional output. |",
        "| `refit.times` | list of integers | `[1, 2]` | Numbers. |",
        "| `preprocess.mode` | `auto`, `true` | `auto` | A mode. |",
        "| `threshold` | number, above 0, at most 1 | `0.5` | A threshold. |",
        "| `matrix` | `true` or `false` | `false` | An output without options. |",
    ]


def test_every_method_has_a_page_with_its_options(tmp_path):
    (tmp_path / "retired.md").touch()
    generate_methods.write_pages(tmp_path)
    descriptions = generate_options.load_methods()
    assert {path.stem for path in tmp_path.iterdir()} == descriptions.keys()
    assert set(methods.names()) <= descriptions.keys()
    for name, description in descriptions.items():
        page = (tmp_path / f"{name}.md").read_text()
        assert page.startswith(f"# {description['title']}\n")
        assert all(f"`methods.<name>.{option}`" in page for option in description.get("properties", ()))


def test_notes_belong_to_a_method():
    assert {path.stem for path in generate_methods.NOTES.glob("*.md")} <= generate_options.load_methods().keys()


@pytest.mark.parametrize("column", sorted({*dynamical.COLUMNS, *mixture.COLUMNS, *scvelo.COLUMNS, *dynamical.LAYERS}))
def test_columns_of_the_dynamical_model_are_documented(column):
    assert f"`{column}`" in OUTPUTS


@pytest.mark.parametrize("figure", plotting.names())
def test_figures_are_documented(figure):
    assert f"`{figure}`" in OUTPUTS


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_links_have_targets(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("#"):
            continue
        path = (page.parent / target.split("#")[0]).resolve()
        # pages of the methods are written when the site is built
        if "generated" in path.parts:
            assert path.stem in generate_options.load_methods(), f"{target}: no such method"
        else:
            assert path.exists(), f"{target}: no such file"


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_named_files_exist(page):
    folders = ("workflow/", "tests/", "benchmarks/", "envs/", "docs/", "config/", "profiles/")
    for name in re.findall(r"`([\w./]+\.(?:py|yaml|smk|md|rst|txt))`", page.read_text()):
        if name.startswith(folders) and Path(name).stem not in EXAMPLES:
            assert (ROOT / name).exists(), f"{name}: no such file"


def test_every_page_is_in_a_table_of_contents():
    text = "\n".join(page.read_text() for page in PAGES)
    entries = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    names = {Path(entry).name for entry in entries}
    assert {page.stem for page in PAGES if page.stem != "index"} <= names


def code_blocks(page, language):
    """Return the code blocks of a page in one language."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in blocks]


@pytest.mark.parametrize("page", [*PAGES, *generate_methods.NOTES.glob("*.md"), ROOT / "README.md"], ids=name_of)
def test_configs_in_examples_have_known_options(page):
    schema, descriptions = generate_options.load_schema(), generate_options.load_methods()
    dataset = schema["$defs"]["dataset"]["properties"].keys()
    for config in map(yaml.safe_load, code_blocks(page, "yaml")):
        if "title" in config:
            continue  # the description of a method
        config = config.get("velocity", config)
        # a part of a dataset, or a config
        assert config.keys() <= dataset or config.keys() <= schema["properties"].keys()
        for options in [*config.get("datasets", {}).values(), config.get("defaults", {})]:
            assert options.keys() <= dataset
        for name, options in config.get("methods", {}).items():
            method = options.get("method", name)
            if method not in EXAMPLES:
                assert options.keys() - {"method"} <= descriptions[method]["properties"].keys()


def test_the_method_of_the_contributor_page_fulfills_the_contract(tmp_path, monkeypatch):
    page = DOCS / "contributing/add_a_method.md"
    (tmp_path / "total_ratio.py").write_text(code_blocks(page, "python")[0])
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "veloshard.kinetics.methods.total_ratio", raising=False)
    counts = two_clusters()
    block = contract.GeneBlock(
        counts.var_names.to_numpy(),
        *(sparse.csc_matrix(counts.layers[layer]) for layer in ("spliced", "unspliced")),
        as_neighborhood(averaging_weights(sparse.csr_matrix((counts.n_obs, counts.n_obs)))),
    )
    fit = methods.run(block, method="total_ratio")
    contract.check(fit, counts.n_vars, counts.n_obs)
    total = {layer: counts.layers[layer].toarray().sum(axis=0) for layer in ("spliced", "unspliced")}
    fitted = fit.genes["status"] == "ok"
    assert fitted.any()
    np.testing.assert_allclose(
        fit.genes["velocity_gamma"][fitted], (total["unspliced"] / total["spliced"])[fitted], rtol=1e-5
    )
    properties = yaml.safe_load(code_blocks(page, "yaml")[0])["properties"]
    parameters = inspect.signature(methods.load("total_ratio").fit).parameters.values()
    defaults = {
        parameter.name: parameter.default for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY
    }
    assert {name: option["default"] for name, option in properties.items()} == defaults


def test_the_figure_of_the_contributor_page_shows_the_switching_times():
    names = {}
    exec(code_blocks(DOCS / "contributing/add_a_figure.md", "python")[0], names)
    result = simulated_result()
    figure = names["draw"](result, style=plotting.Style(), n_bins=5)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Switching time"
    assert sum(bar.get_height() for bar in axes.patches) == result.var["velocity_genes"].sum()
    assert not names["draw"](simulated_result(dynamical=False), style=plotting.Style()).axes[0].patches


def test_the_module_of_the_how_to_page_leaves_the_targets_of_its_host_alone(tmp_path):
    page = DOCS / "how_to/module.md"
    ours, changed = code_blocks(page, "python")
    (tmp_path / "Snakefile").write_text(f"{ours}\n{changed}".replace("path/to/veloshard", str(ROOT)))
    (tmp_path / "config.yaml").write_text(code_blocks(page, "yaml")[0])
    (tmp_path / "pancreas.h5ad").touch()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--quiet", "host"]
    for target, planned, not_planned in [
        ("all", "summarize", "velocity_draw_figure"),
        ("velocity_all", "velocity_all", "summarize"),
    ]:
        process = subprocess.run([*command, "--", target], cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        rules = {
            line.split()[0] for line in (process.stdout + process.stderr).splitlines() if line.split()[1:] == ["1"]
        }
        assert planned in rules
        assert not_planned not in rules


@pytest.mark.parametrize(
    "name", re.findall(r"^   ([a-z_]+\.[\w.]+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
)
def test_functions_of_the_api_page_are_documented(name):
    assert len(pkgutil.resolve_name(f"veloshard.{name}").__doc__.splitlines()) > 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the documentation site, which is built without warnings."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, folder]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if not browser.program():
        pytest.skip("there is no Chromium here; make test-report installs it as root on Debian")
    opened = browser.Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("index", "veloshard"),
        ("tutorial", "Tutorial"),
        ("options", "Options"),
        ("outputs", "Outputs"),
        ("api", "API"),
        ("contributing/add_a_method", "Add a method"),
        ("generated/methods/precomputed", "Precomputed velocities"),
        ("generated/api/veloshard.graph.confidence.compute_confidence", "confidence.compute_confidence"),
    ],
)
def test_a_page_of_the_site_opens_without_errors_and_without_a_network(site, page, name, title):
    page.messages.clear()
    page.requests.clear()
    page.open(site / f"{name}.html")
    assert page.wait("document.querySelector('h1')?.firstChild.textContent") == title
    page.wait("[...document.images].every(image => image.complete)")
    assert page.value("[...document.images].every(image => image.naturalWidth > 0)")
    assert [text for kind, text in page.messages if kind in ("error", "warning", "failed")] == []
    assert page.requests
    assert all(url.startswith(("file:", "data:")) for url in page.requests)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
