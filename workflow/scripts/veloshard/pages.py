"""Pages of tables that a reader can sort and filter: one file, which loads nothing and works offline."""

import html
import math
from numbers import Number

import pandas as pd

# from how many rows on a table has a field to filter them, and starts in a window of its own
MANY_ROWS = 12

STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5em; }
h1 { font-size: 1.5em; margin: 0 0 .3em; } p { max-width: 48em; }
nav a { margin-right: 1em; } details { margin: 1.2em 0; }
summary { font-size: 1.15em; font-weight: 600; cursor: pointer; }
details > div { overflow: auto; max-width: 100%; } .many { max-height: 32em; border-bottom: 1px solid #ddd; }
table { border-collapse: separate; border-spacing: 0; margin: .5em 0; width: max-content; }
th { position: sticky; top: 0; background: #f2f4f6; border-bottom: 2px solid #aab; padding: 0; text-align: left; }
td:first-child { position: sticky; left: 0; background: #fff; } th:first-child { left: 0; z-index: 1; }
th button { all: unset; box-sizing: border-box; width: 100%; padding: .25em 1.3em .25em .7em; cursor: pointer;
  white-space: nowrap; position: relative; }
th button:focus-visible, summary:focus-visible { outline: 2px solid #0072b2; outline-offset: -2px; }
th button::after { content: "\\2195"; color: #99a; position: absolute; right: .3em; }
th[aria-sort=ascending] button::after { content: "\\2191"; color: #1a1a1a; }
th[aria-sort=descending] button::after { content: "\\2193"; color: #1a1a1a; }
td { padding: .15em .7em; border-bottom: 1px solid #e4e4e4; max-width: 36em; overflow-wrap: break-word;
  vertical-align: top; }
th.number button { text-align: right; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
input { font: inherit; padding: .1em .4em; margin: .5em .5em 0 .3em; }
"""

# Empty cells stay last whichever way a column is sorted; equal ones keep their order.
SCRIPT = """
"use strict";
const collator = new Intl.Collator("en", { numeric: true });
const number = text => Number(text.replace("inf", "Infinity"));
function compare(a, b, isNumber) {
  return isNumber ? number(a) - number(b) : collator.compare(a, b);
}
function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
  const isNumber = header.className === "number";
  // what is read first is most of a number, and the start of the alphabet
  const before = header.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : isNumber;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = Array.from(body.rows, row => [row.cells[column].textContent, row]);
  const filled = rows.filter(([text]) => text !== ""), empty = rows.filter(([text]) => text === "");
  filled.sort(([a], [b]) => (descending ? -1 : 1) * compare(a, b, isNumber));
  body.append(...[...filled, ...empty].map(([, row]) => row));
}
function filter(input) {
  const rows = Array.from(input.closest("details").querySelector("tbody").rows);
  const wanted = input.value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  const shown = rows.filter(row => !row.hidden).length;
  input.closest("details").querySelector("output").textContent = `${shown} of ${rows.length} rows`;
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.parentElement));
}
for (const input of document.querySelectorAll("input")) {
  input.addEventListener("input", () => filter(input));
}
"""


def table_page(title, explanation, tables):
    """HTML of a page of tables, sorted by a click on a column's name, or by its key.

    title, explanation : text.   tables : DataFrames by their captions, in the order of the page; what a caption says
    before its colon is the name of the table, the index is not shown.  All text is escaped.  Numbers are shown with
    four significant digits and sorted by them, true and false are yes and no, what is missing is empty.  A table
    without rows says that there is nothing.
    """
    links = "".join(
        f"<a href='#table{number}'>{html.escape(caption.split(':')[0])}</a>" for number, caption in enumerate(tables, 1)
    )
    parts = [_section(f"table{number}", *table) for number, table in enumerate(tables.items(), 1)]
    return "\n".join(
        [
            "<!doctype html>",
            f"<html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1><p>{html.escape(explanation)}</p>",
            *([f"<nav>{links}</nav>"] if len(tables) > 1 else []),
            *parts,
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )


def _section(name, caption, table):
    opening = f"<details open id='{name}'><summary>{html.escape(caption)}</summary>"
    if table.empty:
        return f"{opening}<p>none</p></details>"
    many = len(table) > MANY_ROWS
    classes = [" class=number" if _is_number(table[column]) else "" for column in table]
    header = "".join(
        f"<th scope=col{class_}><button type=button>{html.escape(str(column))}</button></th>"
        for column, class_ in zip(table, classes, strict=True)
    )
    # HTML lets the ends of cells be left out, which is a quarter of a long table; not that of the last one, which
    # would take in the end of the line
    rows = (
        "<tr>" + "".join(f"<td{class_}>{_text(value)}" for value, class_ in zip(row, classes, strict=True)) + "</tr>"
        for row in table.itertuples(index=False, name=None)
    )
    count = f"{len(table)} of {len(table)} rows"
    search = f"<label>Rows with<input type=search></label><output aria-live=polite>{count}</output>" if many else ""
    return "\n".join(
        [
            f"{opening}{search}<div{' class=many tabindex=0' if many else ''}>",
            f"<table><thead><tr>{header}</tr></thead><tbody>",
            *rows,
            "</tbody></table></div></details>",
        ]
    )


def _is_number(column):
    """Whether a column is sorted as numbers: what has a value in it is one, and true and false are none."""
    values = column.dropna()
    return len(values) > 0 and all(isinstance(value, Number) and not _is_truth(value) for value in values)


def _is_truth(value):
    return pd.api.types.is_bool(value)


def _text(value):
    """How a value is shown."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if _is_truth(value):
        return "yes" if value else "no"
    if isinstance(value, Number):
        # large whole numbers in full: 12345 cells are not 1.234e+04
        return str(int(value)) if float(value).is_integer() and math.fabs(value) < 1e15 else f"{value:.4g}"
    return html.escape(str(value))
