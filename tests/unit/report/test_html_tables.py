"""HTML pages: values below the names of their columns, escaped text, and no requests."""

import re
from html import unescape

import numpy as np
import pandas as pd
from veloshard.report.html_tables import MANY_ROWS, html_page


def cells(page):
    """Return the text of the cells of a page, one list per row."""
    return [re.findall(r"<td[^>]*>([^<]*)", row) for row in page.split("<tr>")[2:]]


def tables(page):
    """Return the cells by column, by caption of the table."""
    sections = re.findall(r'<details open id="(.*?)"><summary>(.*?)</summary>(.*?)</details>', page, re.DOTALL)
    return {
        unescape(caption): dict(
            zip(re.findall(r"<button type=button>(.*?)</button>", body), zip(*cells(body), strict=True), strict=True)
        )
        for _, caption, body in sections
    }


def test_cells_are_below_the_name_of_their_column():
    first = pd.DataFrame({"gene": ["a", "b"], "alpha": [1.5, 2.5], "beta": [0.1, 0.2]})
    second = pd.DataFrame({"beta": [7], "alpha": [8]})
    assert tables(html_page("t", "e", {"one: x": first, "two": second})) == {
        "one: x": {"gene": ("a", "b"), "alpha": ("1.5", "2.5"), "beta": ("0.1", "0.2")},
        "two": {"beta": ("7",), "alpha": ("8",)},
    }


def test_links_lead_to_the_table_that_they_name():
    page = html_page("t", "e", {"one: x": pd.DataFrame({"a": [1]}), "two": pd.DataFrame({"b": []})})
    links = re.findall(r'<a href="#(.*?)">(.*?)</a>', page)
    captions = dict(re.findall(r'<details open id="(.*?)"><summary>(.*?)</summary>', page))
    assert links == [("table1", "one"), ("table2", "two")]
    assert captions == {"table1": "one: x", "table2": "two"}


def test_title_and_explanation_are_shown():
    page = html_page("liver, dynamical", "Trust it.", {"c": pd.DataFrame({"a": [1]})})
    assert "<title>liver, dynamical</title>" in page
    assert "<h1>liver, dynamical</h1>" in page
    assert "<p>Trust it.</p>" in page


def test_names_are_escaped():
    page = html_page("<a> & b", "<p>", {"<script>": pd.DataFrame({"<td>": ["<script>alert(1)</script>", "a & b"]})})
    assert page.count("<script>") == 1  # the script of the page
    assert cells(page)[0] == ["&lt;script&gt;alert(1)&lt;/script&gt;"]
    assert "&lt;td&gt;" in page
    assert "<title>&lt;a&gt; &amp; b</title>" in page


def test_dollar_signs_are_not_placeholders():
    page = html_page("$title", "$style", {"$caption": pd.DataFrame({"$rows": ["$id", "$$"]})})
    assert tables(page) == {"$caption": {"$rows": ("$id", "$$")}}
    assert "<h1>$title</h1>" in page


def test_values_are_formatted_for_reading():
    table = pd.DataFrame(
        {
            "number": [0.123456, 1.5e-7, np.nan, np.inf],
            "count": pd.array([12345678, 3, None, 0], dtype="Int64"),
            "whole": [3.0, -20.0, 1e22, 0.0],
            "truth": [True, False, True, False],
            "text": ["a", None, "", "1e5"],
        }
    )
    assert cells(html_page("t", "", {"c": table})) == [
        ["0.1235", "12345678", "3", "yes", "a"],
        ["1.5e-07", "3", "-20", "no", ""],
        ["", "", "1e+22", "yes", ""],
        ["inf", "0", "0", "no", "1e5"],
    ]


def test_only_numeric_columns_are_sorted_as_numbers():
    table = pd.DataFrame(
        {"n": [1, None], "truth": [True, False], "text": ["1", "2"], "mixed": [1, "a"], "none": [None] * 2}
    )
    assert re.findall(r"<th scope=col( class=number)?>", html_page("t", "", {"c": table})) == [
        " class=number",
        "",
        "",
        "",
        "",
    ]


def test_a_table_without_rows_says_none():
    assert "<p>none</p>" in html_page("t", "", {"c": pd.DataFrame(columns=["a"])})


def test_only_a_long_table_has_a_filter():
    for n_rows, has_filter in ((MANY_ROWS, False), (MANY_ROWS + 1, True)):
        page = html_page("t", "", {"c": pd.DataFrame({"a": range(n_rows)})})
        assert ('<input type="search">' in page) == has_filter
        assert (f"{n_rows} of {n_rows} rows" in page) == has_filter


def test_a_page_loads_nothing():
    page = html_page("t", "e", {"c": pd.DataFrame({"a": range(100)})})
    assert not re.findall(r"https?:|\bsrc=|<link|@import|url\(", page)
