// Start: tables, then the heavy parts once the page can be seen.

function startScore() {
  const byName = new Map(page.variants.map((variant) => [variant.name, variant]));
  const section = document.getElementById("variant");
  const rows = [...document.querySelectorAll("#all tr[data-open]")];
  const order = () => [...document.querySelectorAll("#all tr[data-open]")].filter((row) => !row.hidden && byName.has(row.dataset.open)).map((row) => row.dataset.open);
  let view = null, current = null;

  function open(name, { scroll = true, say = true } = {}) {
    const variant = byName.get(name);
    if (!variant) return;
    current = name;
    section.hidden = false;
    view = view || makeVariantView(section);
    view.show(variant);
    for (const row of rows) row.classList.toggle("open", row.dataset.open === name);
    for (const stem of document.querySelectorAll("[data-map]")) stem.classList.toggle("open", stem.dataset.map === name);
    const list = order();
    section.querySelector('[data-part="place"]').textContent = `${list.indexOf(name) + 1 || "–"} of ${list.length}`;
    if (say) history.replaceState(null, "", `#v=${encodeURIComponent(name)}`);
    if (scroll) section.scrollIntoView({ block: "start" });
  }
  const step = (by) => {
    const list = order();
    if (list.length) open(list[(list.indexOf(current) + by + list.length) % list.length], { scroll: false });
  };
  const fromAddress = () => {
    const match = /^#v=(.*)$/.exec(location.hash);
    try {
      return match ? decodeURIComponent(match[1]) : null;
    } catch {
      return null;
    }
  };

  makeTable(document.querySelector("#all table"), (name) => open(name));
  for (const link of document.querySelectorAll("a[data-open]"))
    link.addEventListener("click", (event) => {
      event.preventDefault();
      open(link.dataset.open);
    });
  section.querySelector('[data-part="previous"]').addEventListener("click", () => step(-1));
  section.querySelector('[data-part="next"]').addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (/input|select|textarea/i.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n" || event.key === "j") step(1);
    else if (event.key === "p" || event.key === "k") step(-1);
    else if (event.key === "/") { document.querySelector("#all [data-search]").focus(); event.preventDefault(); }
  });
  addEventListener("hashchange", () => { const name = fromAddress(); if (name && name !== current) open(name); });

  const map = document.getElementById("map");
  if (map && page.variants.length) {
    map.hidden = false;
    repaints.push(drawMap(map, page.variants, (name) => open(name)));
  }
  repaints.push(() => view && view.repaint());
  const asked = fromAddress();
  const first = document.querySelector("#top a[data-open]");
  const start = asked && byName.has(asked) ? asked : first ? first.dataset.open : page.variants.length ? page.variants[0].name : null;
  if (start) open(start, { scroll: start === asked, say: false });
}

unpack()
  .then(() => {
    document.body.dataset.state = "drawn";
    if (page.kind === "score") startScore();
    else startScan();
  })
  .catch((error) => {
    document.body.dataset.state = "failed";
    document.getElementById("trouble").textContent = `The drawings of this page could not be made in this browser: ${error.message || error}. The table holds all numbers.`;
    throw error;
  });
