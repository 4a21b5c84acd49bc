// The tables of a page over many proteins.

for (const table of document.querySelectorAll("[data-table] table")) makeTable(table, () => {});

document.addEventListener("keydown", (event) => {
  if (/input|select|textarea/i.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { document.querySelector("[data-search]").focus(); event.preventDefault(); }
});
document.body.dataset.state = "drawn";
