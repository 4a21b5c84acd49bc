// A table that was in the page already: sorted, searched, filtered, copied and saved.

function makeTable(table, onOpen) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const host = table.closest("[data-table]");
  const search = host.querySelector("[data-search]");
  const count = host.querySelector("[data-count]");
  const chosen = {};
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const matching = new Set();
  // Of a long table the first rows are laid out, for the page to open at once; the others on demand.
  const more = host.querySelector("[data-more]");
  let most = more ? Number(more.dataset.more) : Infinity;

  function refresh() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    matching.clear();
    for (const row of body.rows) {
      const wanted =
        words.every((word) => texts.get(row).includes(word)) &&
        Object.entries(chosen).every(([key, value]) => !value || row.dataset[key] === value || row.dataset[key].split(" ").includes(value));
      if (wanted) matching.add(row);
      row.hidden = !wanted || matching.size > most;
    }
    const shown = matching.size;
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    if (more) {
      more.hidden = shown <= most;
      more.textContent = `Show all ${shown} rows`;
    }
  }

  const plainMinus = (text) => text.replaceAll("−", "-");

  function cellValue(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (text === "—" || text === "") return null;
    return cell.classList.contains("number") ? Number(plainMinus(text)) : text.toLowerCase();
  }

  function sortBy(header, column) {
    const rising = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const keyed = [...body.rows].map((row) => [cellValue(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (a < b ? -1 : a > b ? 1 : 0) * (rising ? 1 : -1);
    });
    body.append(...keyed.map(([, row]) => row));
    refresh();
  }

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = header.querySelector("button");
    if (button) button.addEventListener("click", () => sortBy(header, column));
  });
  search.addEventListener("input", refresh);
  if (more)
    more.addEventListener("click", () => {
      most = Infinity;
      refresh();
    });
  for (const select of host.querySelectorAll("[data-filter]"))
    select.addEventListener("change", () => {
      chosen[select.dataset.filter] = select.value;
      refresh();
    });

  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && row.dataset.open && !getSelection().toString()) onOpen(row.dataset.open, event.target.closest("a"));
  });

  // A spreadsheet runs no formula from it: the rule of variants.csv.
  const plain = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
  const safe = (text) => (/^[=+\-@\t]/.test(text) && !plain.test(text) ? "'" + text : text);
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // A table of few columns is copied as it is shown; what is saved holds every column.
  const switcher = host.querySelector("[data-columns]");
  if (switcher)
    switcher.addEventListener("click", () => {
      const wide = host.classList.toggle("wide");
      switcher.setAttribute("aria-pressed", wide);
      switcher.textContent = wide ? "Fewer columns" : "All columns";
    });

  function csv(separator) {
    const hidden = separator === "," || host.classList.contains("wide") ? "drawing" : "more";
    const cells = (row) =>
      [...row.cells].filter((cell) => !cell.classList.contains("drawing") && !cell.classList.contains(hidden)).map((cell) => {
        const text = plainMinus(cell.dataset.value ?? cell.textContent.trim()).replace(/^—$/, "");
        return separator === "," ? quoted(safe(text)) : safe(text).replace(/[\t\r\n]+/g, " ");
      });
    const lines = [table.tHead.rows[0], ...matching];
    return lines.map((row) => cells(row).join(separator)).join("\r\n") + "\r\n";
  }

  const said = host.querySelector("[data-said]");
  host.querySelector("[data-copy]").addEventListener("click", async () => {
    const text = csv("\t");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages opened from disk may not use the clipboard directly in every browser.
      const area = el("textarea", { "aria-hidden": "true", class: "away" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    said.textContent = "Copied: paste into a spreadsheet.";
  });
  host.querySelector("[data-save]").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob(["\ufeff" + csv(",")], { type: "text/csv;charset=utf-8" }));
    const link = el("a", { href: address, download: `${table.dataset.name || "table"}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    said.textContent = "Saved as CSV.";
  });
  refresh();
  return { csv, rows };
}
