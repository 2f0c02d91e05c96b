// Sorts tables by a click on a column's head, and saves them as CSV.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  // A number with a real minus sign and groups, or the text itself.
  const value = (row, at) => {
    const text = row.cells[at].textContent.trim();
    const number = parseFloat(text.replace(/\u2212/g, "-").replace(/\u202f/g, ""));
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    const kinds = [typeof a, typeof b];
    if (kinds[0] !== kinds[1]) return kinds[0] === "number" ? -1 : 1;
    return kinds[0] === "number" ? a - b : a.localeCompare(b);
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => compare(value(a, at), value(b, at)));
      body.append(...(down ? rows.reverse() : rows));
    });
    head.replaceChildren(button);
  });
  const save = document.createElement("button");
  save.type = "button";
  save.className = "save";
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => {
    const quote = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    const plain = (cell) => quote(cell.textContent.trim().replace(/\u2212/g, "-").replace(/\u202f/g, ""));
    const lines = [...table.rows].map((row) => [...row.cells].map(plain).join(","));
    const file = new Blob([lines.join("\n") + "\n"], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${table.dataset.name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  table.parentElement.after(save);
}
