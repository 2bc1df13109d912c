// Sort and filter the tables of a page.
"use strict";

const collator = new Intl.Collator("en", { numeric: true });
const number = text => Number(text.replace("inf", "Infinity"));

function compare(a, b, isNumber) {
  return isNumber ? number(a) - number(b) : collator.compare(a, b);
}

// Empty cells are last in both orders. Rows with equal values keep their order.
function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
  const isNumber = header.className === "number";
  // the first click sorts numbers in descending order and text in ascending order
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
  const query = input.value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(query);
  const shown = rows.filter(row => !row.hidden).length;
  input.closest("details").querySelector("output").textContent = `${shown} of ${rows.length} rows`;
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.parentElement));
}
for (const input of document.querySelectorAll("input")) {
  input.addEventListener("input", () => filter(input));
}
