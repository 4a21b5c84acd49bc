// What residues can be coloured by, each with its legend.

function colourings(view) {
  const list = [];
  if (view.drop)
    list.push({
      key: "drop", name: "lDDT drop", colour: (i) => (Number.isFinite(view.drop[i]) ? hex(loss(view.drop[i] / view.reach)) : PALE),
      mutantOnly: true,
      legend: () => scaleBar(loss, "0", view.dropName, view.reach.toFixed(view.reach < 0.1 ? 3 : 2)),
    });
  if (view.score)
    list.push({
      key: "score", name: view.scoreName, colour: (i) => (Number.isFinite(view.score[i]) ? hex(cividis(view.score[i])) : PALE),
      legend: () => scaleBar(cividis, view.scoreEnds[0], view.scoreName, view.scoreEnds[1]),
    });
  const plddt = numbers("plddt");
  if (plddt)
    list.push({
      key: "plddt", name: "pLDDT", colour: (i) => plddtColour(plddt[i]),
      legend: () => keyLegend(PLDDT.map(([, colour, words]) => [colour, words])),
    });
  if (domains.length)
    list.push({
      key: "domain", name: "Domain", colour: domainColour,
      legend: () => keyLegend([...domains.slice(0, 8).map((domain, i) => [OKABE_ITO[i % 8], domain.name]), [PALE, "none"]]),
    });
  list.push({
    key: "chain", name: view.drop ? "Chain" : "One colour", colour: () => OKABE_ITO[1], wild: () => OKABE_ITO[0],
    legend: () => keyLegend(view.drop ? [[OKABE_ITO[0], "wild type"], [OKABE_ITO[1], "mutant"]] : [[OKABE_ITO[0], "wild type"]]),
  });
  return list;
}

function scaleBar(colour, left, middle, right) {
  const stops = Array.from({ length: 9 }, (_, i) => `rgb(${colour(i / 8).join(" ")})`).join(",");
  return el("div", { class: "scale" }, el("span", { class: "bar", style: `background:linear-gradient(90deg,${stops})` }),
    el("span", { class: "ends" }, el("span", {}, left), el("span", {}, middle), el("span", {}, right)));
}

const keyLegend = (keys) =>
  el("ul", { class: "keys" }, ...keys.map(([colour, words]) => el("li", {}, el("i", { style: `background:${colour}` }), words)));

// Buttons of which one is pressed.
function choice(host, label, options, onChoose) {
  const group = el("div", { role: "radiogroup", "aria-label": label, class: "choice" });
  const choose = (key) => {
    for (const button of group.children) {
      const on = button.dataset.key === key;
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
    }
    onChoose(key);
  };
  for (const { key, name } of options)
    group.append(el("button", { type: "button", role: "radio", "data-key": key, onclick: () => choose(key) }, name));
  group.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const buttons = [...group.children];
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    choose(next.dataset.key);
    event.preventDefault();
  });
  host.replaceChildren(el("span", { class: "label" }, label), group);
  return choose;
}
