// Sorting by a click on a head, and showing only the rows that hold a text.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const number = head.classList.contains("n");
      const value = (row) => {
        const cell = row.cells[at];
        return number ? (cell.dataset.v ? Number(cell.dataset.v) : null) : cell.textContent;
      };
      const rows = [...body.rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);  // none comes last
        return (number ? a - b : a.localeCompare(b, "en", { numeric: true })) * (down ? -1 : 1);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
const filter = document.querySelector("#filter");
if (filter) {
  const rows = [...document.querySelectorAll("table.sortable tbody tr")];
  const count = document.querySelector("#count");
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  filter.addEventListener("input", show);
  for (const card of document.querySelectorAll("[data-find]")) {
    card.addEventListener("click", () => {  // the layer's rows, which the link leads to
      filter.value = card.dataset.find;
      show();
    });
  }
  show();
}
