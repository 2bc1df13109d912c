"""The report of a run is one complete file, and works in a browser without a network."""

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import browser
from veloshard.report.html_tables import html_page

ROOT = Path(__file__).parents[2]
METHODS = ["dynamical", "steady_state", "stochastic"]
# messages about what Snakemake itself uses
EXPECTED_MESSAGES = ("cdn.tailwindcss.com should not be used in production", "The input spec uses Vega-Lite")


@pytest.fixture(scope="module")
def run(small_run, small_config, run_workflow, tmp_path_factory):
    """Return the folder of a run with its report.html."""
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(small_run.parent, folder, copy_function=shutil.copy2)
    for how in (
        ["--forcerun", "tabulate_run", "tabulate_comparison"],
        ["--report", "report.html", "--report-stylesheet", ROOT / "workflow/report/report.css"],
    ):
        process = run_workflow(small_config(), folder, *how, "--", "tabulate_all")
        assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture(scope="module")
def report(run):
    """Return a function that gives a variable of the report."""
    text = (run / "report.html").read_text()

    def variable(name):
        return json.loads(re.search(rf'<script id="{name}">\s*var \w+ = (.*);\n', text)[1])

    return variable


def content(entry):
    return base64.b64decode(entry["data_uri"].split("base64,")[1])


def test_datasets_are_categories_and_methods_are_subcategories(report, run):
    categories = report("categories")
    assert set(categories) == {"demo", "Run"}
    assert sorted(categories["demo"]) == ["all methods", *METHODS]
    for part, paths in categories["demo"].items():
        together = part == "all methods"
        folder, page = ("results/demo", "comparison") if together else (f"results/demo/{part}", "tables")
        figures = [str(path.relative_to(run)) for path in (run / folder / "figures").glob("*.png")]
        assert sorted(paths) == sorted([*figures, f"{folder}/{page}.html"])
        assert len(figures) > (1 if together else 5)


def test_the_report_contains_the_files(report, run):
    results = report("results")
    assert len(results) > 20
    for path, entry in results.items():
        assert content(entry) == (run / path).read_bytes()


def test_every_figure_and_page_has_a_caption(report):
    for path, entry in report("results").items():
        assert "<p>" in entry["caption"], path
        assert "{{" not in entry["caption"]


def test_the_front_page_links_to_the_verdicts_and_datasets(report):
    front = report("workflow-desc")
    assert "results/run.html" in front
    assert "app.showCategory('demo')" in front
    assert all(method in front for method in METHODS)
    assert "system-message" not in front  # the class of errors of reStructuredText


def test_the_page_of_the_run_has_sources_and_versions(run):
    page = (run / "results/run.html").read_text()
    for wanted in ("fit_genes", "numba", "unspliced fraction", "preprocess.min_shared_counts", *METHODS):
        assert f"<td>{wanted}" in page


def test_the_page_of_a_result_holds_its_velocity_genes(run):
    for method in METHODS:
        folder = run / "results/demo" / method
        genes = pd.read_csv(folder / "genes.csv")
        shown = re.findall(r"<tr><td>([^<]*)", (folder / "tables.html").read_text())
        assert set(genes.loc[genes["velocity_genes"], "gene"]) <= set(shown)


def test_the_page_of_all_methods_has_agreement_and_resources(run):
    page = (run / "results/demo/comparison.html").read_text()
    for wanted in ("Pairs of methods", "Against the truth", "seconds of the fit", "coherence_in_clusters"):
        assert wanted in page
    methods = pd.read_csv(run / "results/demo/methods.csv")["method"].tolist()
    assert methods == METHODS


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """`browser.Browser`."""
    if not browser.program():
        pytest.skip("there is no Chromium here; make test-report installs it as root on Debian")
    opened = browser.Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.fixture
def opened(page, run):
    """Return the browser with the report."""
    page.messages.clear()
    page.requests.clear()
    page.open(run / "report.html")
    page.wait("document.querySelector('nav') !== null")
    return page


def click(page, name):
    """Click on an item of the list of the report."""
    page.wait(f"[...document.querySelectorAll('nav li a')].some(item => item.textContent.trim() === '{name}')")
    page.value(f"[...document.querySelectorAll('nav li a')].find(item => item.textContent.trim() === '{name}').click()")


def click_result(page, label, button):
    """Click on the eye (0) or the i (1) of a result."""
    row = f"[...document.querySelectorAll('nav tbody tr')].find(row => row.cells[0].textContent === '{label}')"
    page.wait(f"{row} !== undefined")
    page.value(f"{row}.querySelectorAll('a')[{button}].click()")


def assert_no_messages(page):
    """Check that there were no errors, no other messages and no requests to a network."""
    complaints = [text for kind, text in page.messages if kind != "log" and not text.startswith(EXPECTED_MESSAGES)]
    assert not complaints
    assert page.requests
    assert not [url for url in page.requests if not url.startswith(("file:", "data:"))]


@pytest.mark.browser
def test_every_figure_is_shown(opened, run):
    click(opened, "demo")
    click(opened, "dynamical")
    figures = sorted(path.stem for path in (run / "results/demo/dynamical/figures").glob("*.png"))
    for name in figures:
        click_result(opened, name, 0)
        shown = f"document.querySelector('img[src*=\"filename={name}.png\"]')"
        assert opened.wait(f"{shown} && {shown}.complete && {shown}.naturalWidth") > 50
        top, bottom, height = opened.value(
            f"(box => [box.top, box.bottom, innerHeight])({shown}.getBoundingClientRect())"
        )
        assert 0 <= top < bottom <= height
    assert_no_messages(opened)


@pytest.mark.browser
def test_agreement_is_shown_and_its_table_sorted(opened, run):
    click(opened, "demo")
    click(opened, "all methods")
    for name in ("agreement", "cell_agreement"):
        click_result(opened, name, 0)
        shown = f"document.querySelector('img[src*=\"filename={name}.png\"]')"
        assert opened.wait(f"{shown} && {shown}.complete && {shown}.naturalWidth") > 50
    click_result(opened, "all tables", 0)
    opened.wait("document.querySelectorAll('tbody tr').length", inside=True)
    methods = pd.read_csv(run / "results/demo/methods.csv")
    header = "[...document.querySelectorAll('th button')].find(one => one.textContent === 'cosine_with_others')"
    opened.value(f"{header}.click()", inside=True)
    rows = f"[...{header}.closest('table').tBodies[0].rows].map(row => row.cells[0].textContent)"
    assert opened.value(rows, inside=True) == methods.sort_values("cosine_with_others")["method"].tolist()[::-1]
    assert_no_messages(opened)


@pytest.mark.browser
def test_a_table_in_the_report_is_sorted_by_a_click(opened, run):
    click(opened, "demo")
    click(opened, "steady_state")
    click_result(opened, "all tables", 0)
    opened.wait("document.querySelectorAll('tbody tr').length", inside=True)
    genes = pd.read_csv(run / "results/demo/steady_state/genes.csv").query("velocity_genes")
    header = "[...document.querySelectorAll('th button')].find(one => one.textContent === 'velocity_gamma')"
    shown = f"[...{header}.closest('table').tBodies[0].rows].map(row => row.cells[0].textContent)"
    for ascending in (False, True):
        opened.value(f"{header}.click()", inside=True)
        # gammas are seen, and sorted by, with four digits
        seen = genes.assign(seen=[float(f"{gamma:.4g}") for gamma in genes["velocity_gamma"]]).set_index("gene")["seen"]
        assert seen[opened.value(shown, inside=True)].tolist() == sorted(seen, reverse=not ascending)
    assert_no_messages(opened)


@pytest.mark.browser
def test_the_front_page_opens_the_verdicts(opened):
    opened.value("[...document.querySelectorAll('a')].find(a => a.textContent.startsWith('Open verdicts')).click()")
    assert opened.wait("document.querySelector('h1')?.textContent", inside=True) == "Run"
    assert_no_messages(opened)


@pytest.mark.browser
def test_a_caption_opens_next_to_its_page(opened):
    click(opened, "Run")
    click_result(opened, "verdicts, quality, times and versions", 1)
    opened.wait("document.querySelector('nav').innerText.includes('Verdicts on all results')")
    assert_no_messages(opened)


@pytest.fixture
def strange(page, tmp_path):
    """Return the browser with a page of values that are hard to sort."""
    numbers = [3.0, np.nan, -2.5, 1e-9, 20.0, np.inf, 0.5, -np.inf, 3.0, np.nan, 100.0, 7.0, 8.0]
    names = ["gene10", "b", "gene2", "a", "Gene1", None, "é", "z", "<b>", "x1", "x12", "x3", "y"]
    table = pd.DataFrame({"name": names, "value": numbers})
    (tmp_path / "page.html").write_text(html_page("t", "", {"first": table.head(2), "second": table}))
    page.open(tmp_path / "page.html")
    return page


def column(page, number):
    return page.value(
        f"[...document.querySelectorAll('#table2 tbody tr')].filter(row => !row.hidden)"
        f".map(row => row.cells[{number}].textContent)"
    )


def press(page, key, text=""):
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text, windowsVirtualKeyCode=13)


@pytest.mark.browser
def test_numbers_are_sorted_by_value_with_missing_values_last(strange):
    strange.value("document.querySelectorAll('#table2 th button')[1].focus()")
    ordered = ["inf", "100", "20", "8", "7", "3", "3", "0.5", "1e-09", "-2.5", "-inf"]
    press(strange, "Enter", "\r")
    assert column(strange, 1) == [*ordered, "", ""]
    press(strange, "Enter", "\r")
    assert column(strange, 1) == [*reversed(ordered), "", ""]
    assert strange.value("document.querySelectorAll('#table2 th')[1].ariaSort") == "ascending"
    # the other table is unchanged
    assert strange.value("document.querySelector('#table1 tbody').innerText") == "gene10\t3\nb\t"


@pytest.mark.browser
def test_names_are_sorted_with_numbers_by_value(strange):
    strange.value("document.querySelectorAll('#table2 th button')[0].click()")
    assert column(strange, 0) == ["<b>", "a", "b", "é", "Gene1", "gene2", "gene10", "x1", "x3", "x12", "y", "z", ""]


@pytest.mark.browser
def test_a_table_is_filtered_by_text(strange):
    strange.value("document.querySelector('#table2 input').focus()")
    strange.send("Input.insertText", text="GENE1")
    assert column(strange, 0) == ["gene10", "Gene1"]
    assert strange.value("document.querySelector('#table2 output').textContent") == "2 of 13 rows"
