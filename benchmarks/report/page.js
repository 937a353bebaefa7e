// A click on the head of a column sorts its table; without scripts the page lacks only this.
(() => {
  const units = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, µs: 1e-3, ms: 1, s: 1e3, min: 6e4, k: 1e3, M: 1e6, G: 1e9 };
  const key = (cell) => {
    const text = cell.firstChild ? cell.firstChild.textContent.trim() : "";
    const found = text.replace(/[\u202f,]/g, "").replace("−", "-").match(/^([+±-]?\d[\d.e+-]*)\s*(\S*)/);
    return found ? parseFloat(found[1].replace("±", "")) * (units[found[2]] || 1) : text;
  };
  const order = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => order(key(a.cells[column]), key(b.cells[column])));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }
})();
