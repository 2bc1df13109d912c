"""HTML page with tables that can be sorted and filtered: one file that loads nothing and works offline."""

import html
import math
from functools import cache
from importlib import resources
from numbers import Number
from string import Template

import pandas as pd

# number of rows above which a table has a filter and scrolls in a box of its own
MANY_ROWS = 12


def html_page(title, explanation, tables):
    """Return an HTML page with tables.

    A click on the name of a column, or a key press on it, sorts by that column. Numbers are shown with four significant
    digits and sorted by these. True and false are shown as yes and no, and missing values are empty. A table without
    rows says "none". All text is escaped.

    Parameters
    ----------
    title : str
        Title of the page.
    explanation : str
        Paragraph above the tables.
    tables : dict of str to DataFrame
        Tables by caption, in the order of the page. The part of a caption before the first colon is the name of the
        table. The index of a table is not shown.

    Returns
    -------
    str
        The page.
    """
    links = (
        f'<a href="#table{number}">{html.escape(caption.split(":")[0])}</a>' for number, caption in enumerate(tables, 1)
    )
    sections = (_section(f"table{number}", *table) for number, table in enumerate(tables.items(), 1))
    return _template("page.html").substitute(
        title=html.escape(title),
        explanation=html.escape(explanation),
        style=_template_text("tables.css"),
        script=_template_text("tables.js"),
        navigation=f"<nav>{''.join(links)}</nav>" if len(tables) > 1 else "",
        sections="".join(sections),
    )


def _section(identifier, caption, table):
    """Return the HTML of one table with its caption."""
    heading = {"id": identifier, "caption": html.escape(caption)}
    if table.empty:
        return _template("empty_table.html").substitute(heading)
    has_many_rows = len(table) > MANY_ROWS
    classes = [" class=number" if _is_numeric(table[column]) else "" for column in table]
    header = "".join(
        f"<th scope=col{class_}><button type=button>{html.escape(str(column))}</button></th>"
        for column, class_ in zip(table, classes, strict=True)
    )
    # HTML allows leaving out the end tags of cells, which are a quarter of a long table; the end tag of the row closes
    # the last cell before the end of the line
    rows = (
        "<tr>" + "".join(f"<td{class_}>{_text(value)}" for value, class_ in zip(row, classes, strict=True)) + "</tr>"
        for row in table.itertuples(index=False, name=None)
    )
    return _template("table.html").substitute(
        heading,
        filter=_template("row_filter.html").substitute(n_rows=len(table)) if has_many_rows else "",
        attributes=' class="scroll" tabindex="0"' if has_many_rows else "",
        header=header,
        rows="\n".join(rows),
    )


@cache
def _template_text(name):
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _template(name):
    return Template(_template_text(name))


def _is_numeric(column):
    """Return True if all values of a column are numbers, which then determine the sorting; booleans are not numbers."""
    values = column.dropna()
    return len(values) > 0 and all(isinstance(value, Number) and not pd.api.types.is_bool(value) for value in values)


def _text(value):
    """Return the HTML of a value."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, Number):
        # large whole numbers in full: 12345, not 1.234e+04
        return str(int(value)) if float(value).is_integer() and math.fabs(value) < 1e15 else f"{value:.4g}"
    return html.escape(str(value))
