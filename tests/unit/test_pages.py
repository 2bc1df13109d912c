"""A page of tables holds what it is given, as text that no browser takes for anything else."""

import re

import numpy as np
import pandas as pd
from veloshard.pages import table_page


def cells(page):
    """Texts of the cells of a page, a list a row."""
    return [re.findall(r"<td[^>]*>([^<]*)", row) for row in page.split("<tr>")[2:]]


def test_names_are_escaped():
    page = table_page("<a> & b", "<p>", {"<script>": pd.DataFrame({"<td>": ["<script>alert(1)</script>", "a & b"]})})
    assert page.count("<script>") == 1  # ours
    assert cells(page)[0] == ["&lt;script&gt;alert(1)&lt;/script&gt;"]
    assert "&lt;td&gt;" in page
    assert "<title>&lt;a&gt; &amp; b</title>" in page


def test_values_are_shown_for_reading():
    table = pd.DataFrame(
        {
            "number": [0.123456, 1.5e-7, np.nan, np.inf],
            "count": pd.array([12345678, 3, None, 0], dtype="Int64"),
            "whole": [3.0, -20.0, 1e22, 0.0],
            "truth": [True, False, True, False],
            "text": ["a", None, "", "1e5"],
        }
    )
    assert cells(table_page("t", "", {"c": table})) == [
        ["0.1235", "12345678", "3", "yes", "a"],
        ["1.5e-07", "3", "-20", "no", ""],
        ["", "", "1e+22", "yes", ""],
        ["inf", "0", "0", "no", "1e5"],
    ]


def test_only_columns_of_numbers_are_sorted_as_such():
    table = pd.DataFrame(
        {"n": [1, None], "truth": [True, False], "text": ["1", "2"], "mixed": [1, "a"], "none": [None] * 2}
    )
    assert re.findall(r"<th scope=col( class=number)?>", table_page("t", "", {"c": table})) == [
        " class=number",
        "",
        "",
        "",
        "",
    ]


def test_a_table_without_rows_says_so():
    assert "<p>none</p>" in table_page("t", "", {"c": pd.DataFrame(columns=["a"])})


def test_a_page_loads_nothing():
    page = table_page("t", "e", {"c": pd.DataFrame({"a": range(100)})})
    assert not re.findall(r"https?:|\bsrc=|<link|@import|url\(", page)
