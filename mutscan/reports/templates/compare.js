// The superposition of two proteins: A in one colour, B in the colours of what is compared.

const REFERENCE = OKABE_ITO[4]; // no colour of cividis comes near it

function startCompare() {
  const part = (name) => document.querySelector(`[data-part="${name}"]`);
  const host = part("stage");
  const atomsB = arrays.mutant_xyz ? readAtoms("mutant") : new Map();
  const other = { byResidue: atomsB, ca: alphaCarbons(atomsB, page.other.length), elements: page.other_elements };
  const section = document.getElementById("superposition");
  section.hidden = false; // before the stage asks for its size
  const stage = makeStage(host, null, other.ca);
  if (!stage) { section.remove(); return; }

  const [pairsA, pairsB] = ["pair_a", "pair_b"].map((name) => [...arrays[name].raw]);
  const partner = { wild: new Map(pairsA.map((a, k) => [a, k])), mutant: new Map(pairsB.map((b, k) => [b, k])) };
  const local = { measured: numbers("lddt_measured"), predicted: numbers("lddt_predicted") };
  const byLocal = (kind) => ({
    key: kind, name: `${kind[0].toUpperCase()}${kind.slice(1)} lDDT`,
    colour: (i) => { const k = partner.mutant.get(i); return k !== undefined && Number.isFinite(local[kind][k]) ? hex(cividis(local[kind][k])) : PALE; },
    legend: () => [scaleBar(cividis, "0", `${kind} lDDT of ${page.names[1]}`, "1"), keyLegend([[REFERENCE, page.names[0]], [PALE, "not known or not aligned"]])],
  });
  const options = [...["measured", "predicted"].filter((kind) => local[kind].some(Number.isFinite)).map(byLocal),
    { key: "chain", name: "Chain", colour: () => OKABE_ITO[1], legend: () => [keyLegend([[REFERENCE, page.names[0]], [OKABE_ITO[1], page.names[1]]])] }];

  let colouring = options[0], shown = "both", selected = [];
  const paint = () => {
    stage.paint({ wild: () => REFERENCE, changed: colouring.colour, selected, show: { wild: shown !== "mutant", mutant: shown !== "wild" } });
    part("legend").replaceChildren(...colouring.legend());
  };
  stage.setMutant(other);
  choice(part("colour"), "Colour by", options, (key) => { colouring = options.find((one) => one.key === key); paint(); })(options[0].key);
  choice(part("show"), "Show", [{ key: "both", name: "Both" }, { key: "wild", name: page.names[0] }, { key: "mutant", name: page.names[1] }],
    (key) => { shown = key; paint(); })(shown);

  const nameA = (a) => `${page.sequence[a]}${a + 1}`, nameB = (b) => `${page.other[b]}${b + 1}`;
  stage.onPick((i, which) => {
    const k = partner[which].get(i);
    const said = [];
    if (k === undefined) said.push(which === "wild" ? `${page.names[0]} ${nameA(i)}` : `${page.names[1]} ${nameB(i)}`, "no partner");
    else {
      const [a, b] = [pairsA[k], pairsB[k]];
      said.push(`${page.names[0]} ${nameA(a)}`, `${page.names[1]} ${nameB(b)}`);
      for (const kind of ["measured", "predicted"]) if (Number.isFinite(local[kind][k])) said.push(`${kind} lDDT ${fixed(local[kind][k])}`);
      const [p, q] = [stage.scene.ca[a], other.ca[b]];
      if (p && q) said.push(`Cα atoms ${fixed(Math.hypot(...minus(p, q)), 1)} Å apart`);
    }
    part("reading").textContent = said.join(" · ");
    selected = k !== undefined ? [pairsA[k]] : which === "wild" ? [i] : [];
    host.dataset.focus = selected.map((a) => a + 1).join(" ");
    paint();
  });
  part("reset").addEventListener("click", () => { selected = []; part("reading").textContent = ""; stage.focus([]); paint(); });
  repaints.push(paint);
}

unpack().then(startCompare).then(() => { document.body.dataset.state = "drawn"; }, (error) => {
  document.body.dataset.state = "failed";
  document.getElementById("superposition").hidden = true;
  throw error;
});
