// Sorts and filters tables. Without this script, every row is readable in its own order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const units = { k: 1e3, M: 1e6, G: 1e9 };
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim().replaceAll("\u2212", "-").replaceAll(",", "");
    const [first, second] = text.split(/\s+/);
    if (/^\d+(:\d\d)+$/.test(first)) return first.split(":").reduce((sum, part) => 60 * sum + +part, 0);
    if (/^-?\d+(\.\d+)?(e[+-]?\d+)?%?$/.test(first)) return Number.parseFloat(first) * (units[second] ?? 1);
    return text === "-" ? -Infinity : text.toLowerCase();
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? 1 : -1;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows];
      rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  });
}
for (const table of document.querySelectorAll("table.filterable")) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Filter rows");
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.closest(".scroll").before(input);
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
