// One variant at a time: its 3-D view, its numbers, its track, what speaks for and against it, its figure.

const NUMBER_ROWS = [
  ["TM-score", "tm_predicted", "tm_measured", 4, "How alike the two folds are as wholes; 1 is identical."],
  ["lDDT, mean", "lddt_predicted_mean", "lddt_measured_mean", 4, "Share of each residue's local distances that are kept, averaged; 1 is all."],
  ["lDDT, lowest", "lddt_predicted_min", "lddt_measured_min", 4, "The residue whose surroundings change most."],
  ["lDDT at the site", "lddt_predicted_site", "lddt_measured_site", 4, "At the changed residue itself."],
];
const FACT_ROWS = [
  ["p_deleterious", "Probability of being deleterious", 2],
  ["z_score", "Drop z against other substitutions (positive: worse)", 2, -1],
  ["lddt_percentile", "Percentile (0 = most disruptive)", 1],
  ["ca_shift_site", "Cα shift at the site, Å", 2],
  ["ca_shift_max", "Largest Cα shift, Å", 2],
  ["ddg_predicted", "Predicted ΔΔG, kcal/mol (positive: destabilising)", 2],
  ["n_residues_affected", "Residues affected", 0],
  ["plddt_site", "pLDDT at the site", 0],
  ["alphamissense", "AlphaMissense (another method, not in the verdict)", 3],
];
const VERDICT = { deleterious: "likely deleterious", tolerated: "likely tolerated", uncertain: "uncertain", "not assessed": "verdict not assessed" };
const SHOWN_REGIONS = 8;

const profile = (name, variant) => (variant.place === null ? null : numbers(name, variant.place * L, L));
const anyKnown = (values) => values !== null && values.some(Number.isFinite);

// What other substitutions leave of each residue so far from the change: three robust standard deviations.
function nullBand(variant) {
  const median = numbers("null_residue_median");
  if (!median) return null;
  const scale = numbers("null_residue_scale");
  const apartMedian = numbers("null_separation_median"), apartScale = numbers("null_separation_scale");
  return Array.from({ length: L }, (_, i) => {
    const apart = Math.min(...variant.sites.map((site) => Math.abs(site - 1 - i)), L - 1);
    const middle = median[i] - Math.max(apartMedian[apart], 0);
    const width = 3 * Math.max(scale[i], apartScale[apart]);
    return [middle - width, Math.min(middle + width, 1)];
  });
}

// "0.93"; what is below 1 gets more decimals before it reads as 1.
function probabilityText(p) {
  let decimals = 2;
  while (p < 1 && p.toFixed(decimals)[0] === "1") decimals += 1;
  return p.toFixed(decimals);
}

// The pieces of a sum, each drawn from where the one before ended.
function waterfall(pieces) {
  const baseline = pieces.filter(([name]) => name === "baseline");
  const rows = [];
  let sum = 0;
  for (const [name, value, weight] of [...baseline, ...pieces.filter(([name]) => name !== "baseline")]) {
    rows.push({ name, value, weight, from: sum, to: (sum += weight) });
  }
  const low = Math.min(0, ...rows.map(({ to }) => to)), high = Math.max(0, ...rows.map(({ to }) => to));
  const width = Math.max(high - low, 0.5);
  const place = (value) => (100 * (value - low)) / width;
  const signed = (value) => (value > 0 ? "+" : "") + fixed(value, 2);
  const row = ({ name, value, weight, from, to }) =>
    el("tr", { class: name === "baseline" ? "baseline" : weight > 0 ? "against" : "for" },
      el("th", { scope: "row" }, name), el("td", { class: "seen" }, value),
      el("td", { class: "bar", style: `--zero:${place(0)}%` }, el("span", { style: `left:${place(Math.min(from, to))}%;width:max(1px,${place(Math.max(from, to)) - place(Math.min(from, to))}%)` })),
      el("td", { class: "number" }, signed(weight)));
  const total = !baseline.length ? [] : [el("tr", { class: "total" }, el("th", { scope: "row" }, "sum"),
    el("td", { class: "seen" }, `probability 1 / (1 + exp(−sum)) = ${probabilityText(1 / (1 + Math.exp(-sum)))}`),
    el("td", { class: "bar", style: `--zero:${place(0)}%` }, el("span", { style: `left:${place(Math.min(0, sum))}%;width:max(1px,${(100 * Math.abs(sum)) / width}%)` })),
    el("td", { class: "number" }, signed(sum)))];
  return el("table", { class: "diverging" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Evidence"), el("th", { scope: "col", class: "seen" }, "what was seen"),
    el("th", { scope: "col", class: "sides" }, el("span", {}, "← tolerated"), el("span", {}, "deleterious →")), el("th", { scope: "col", class: "number" }, "log-odds"))),
    el("tbody", {}, ...rows.map(row), ...total));
}

function makeVariantView(host) {
  const part = (name) => host.querySelector(`[data-part="${name}"]`);
  const stageHost = part("stage");
  const stage = makeStage(stageHost, part("engine"));
  const plddt = numbers("plddt");
  let lit = null, variant = null, data = null, colouring = null, paintKey = "drop", shown = "both";

  if (!stage) {
    stageHost.replaceChildren(el("p", {}, "No structure of the wild type was given or found, so there is none to show."));
    stageHost.classList.add("empty");
    part("controls").hidden = true;
  }

  function describe(i) {
    const said = [residueName(i)];
    const replaced = variant.mutant.find(([index]) => index === i);
    if (replaced) said[0] += ` → ${replaced[1]}`;
    if (data.predicted && Number.isFinite(data.predicted[i])) said.push(`predicted lDDT ${fixed(data.predicted[i])}`);
    if (data.z && Number.isFinite(data.z[i])) said.push(`drop z ${fixed(data.z[i], 1)}`);
    if (data.chance && Number.isFinite(data.chance[i])) said.push(`changes with probability ${fixed(data.chance[i], 2)}`);
    if (data.measured && Number.isFinite(data.measured[i])) said.push(`measured lDDT ${fixed(data.measured[i])}`);
    if (data.shift && data.shift[i] > 0.005) said.push(`moved ${fixed(data.shift[i], 2)} Å`);
    if (plddt && Number.isFinite(plddt[i])) said.push(`pLDDT ${plddt[i].toFixed(0)}`);
    if (domainOf[i] >= 0) said.push(domains[domainOf[i]].name);
    return said.join(" · ");
  }

  const track = makeTrack(part("track"), part("reading"), {
    lanes: () => {
      if (!variant) return [];
      const lanes = [];
      if (anyKnown(data.predicted))
        lanes.push(profileLane({ title: "Predicted lDDT", kind: "predicted", values: data.predicted, band: data.band,
          legend: data.band ? "band: what other substitutions of this protein do (± 3 robust s.d.)" : "" }));
      if (data.chance)
        lanes.push(stripLane({ title: "Probability that the surroundings of a residue change", legend: "pale 0, dark 1; calibrated", height: 7,
          colour: (i) => hex(loss(Math.round(10 * (data.chance[i] || 0)) / 10)) }));
      if (anyKnown(data.measured) && data.measured.some((value) => value < 0.99995))
        lanes.push(profileLane({ title: "Measured lDDT (built structure)", kind: "measured", values: data.measured, height: 60,
          band: Array.from({ length: L }, () => [1 - 0.015, 1]), legend: "band: scatter of the build itself" }));
      if (plddt) lanes.push(stripLane({ title: "Model confidence (pLDDT)", legend: "blue: sure; yellow, orange: unsure", colour: (i) => plddtColour(plddt[i]) }));
      const places = page.places || { domains: [], sites: [], elements: [] };
      if (places.elements.length) lanes.push(elementLane(places.elements));
      return [...lanes, ...domainLanes(places.domains), ...siteLane(places.sites)];
    },
    describe: (i) => (variant ? describe(i) : ""),
    onSelect: (indices) => select(indices, "track"),
    sites: () => (variant ? variant.sites.map((site) => site - 1) : []),
    shaded: () => (variant ? variant.regions.filter((region) => region.disturbed).flatMap((region) => region.stretches.map(([a, b]) => [a - 1, b - 1])) : []),
  });

  function select(indices, from) {
    if (from !== "track") track.select(indices);
    if (from !== "list") lit = null;
    for (const button of part("regions").querySelectorAll("[data-region]")) button.setAttribute("aria-pressed", Number(button.dataset.region) === lit);
    host.dataset.selected = indices.map((i) => i + 1).join(" ");
    stageHost.dataset.focus = host.dataset.selected;
    if (stage) {
      stage.paint({ selected: indices });
      if (from !== "stage" && from !== "new") stage.focus(indices);
    }
    part("zoom").disabled = indices.length < 3 && track.whole();
  }
  if (stage) stage.onPick((index) => select([index], "stage"));

  part("zoom").addEventListener("click", () => {
    const chosen = track.chosen();
    if (track.whole() && chosen.length > 2) {
      track.zoom([Math.max(Math.min(...chosen) - 3, 0), Math.min(Math.max(...chosen) + 3, L - 1)]);
      part("zoom").textContent = "Whole protein";
    } else {
      track.zoom([0, L - 1]);
      part("zoom").textContent = "Zoom to selection";
      part("zoom").disabled = chosen.length < 3;
    }
  });

  function paint() {
    if (!stage || !variant) return;
    const wild = colouring.wild || (colouring.mutantOnly ? () => WILD : colouring.colour);
    stage.paint({
      wild: data.mutant ? wild : colouring.wild || colouring.colour,
      changed: data.mutant ? colouring.colour : null,
      sites: variant.sites.map((site) => site - 1).filter((i) => stage.scene.ca[i]),
      show: { wild: shown !== "mutant" || !data.mutant, mutant: shown !== "wild" },
    });
    part("legend").replaceChildren(colouring.legend());
  }

  function drops() {
    // Measured where the structure moved at all, else predicted against the background.
    const measured = data.measured && data.measured.map((value) => Math.max(1 - value, 0));
    const predicted = data.predicted && data.predicted.map((value, i) =>
      Math.max((data.band && Number.isFinite(data.band[i][0]) ? (data.band[i][0] + data.band[i][1]) / 2 : 1) - value, 0));
    return { measured, predicted };
  }

  function colourControls() {
    const { measured, predicted } = drops();
    const make = (values, words) => {
      const most = values.reduce((m, v) => (v > m ? v : m), 0);
      return { drop: values, reach: Math.max(most, 0.02), dropName: words };
    };
    const first = predicted ? colourings(make(predicted, "predicted lDDT drop")) : colourings({});
    const options = first.map((one) => (one.key === "drop" ? { ...one, name: "Predicted drop" } : one));
    if (anyKnown(measured)) {
      const second = colourings(make(measured, "measured lDDT drop"))[0];
      options.splice(1, 0, { ...second, key: "measured", name: "Measured drop" });
    }
    if (!options.some((one) => one.key === paintKey)) paintKey = options[0].key;
    const choose = choice(part("colour"), "Colour by", options, (key) => {
      paintKey = key;
      colouring = options.find((one) => one.key === key);
      paint();
      if (part("figure").dataset.ready === variant.name) figure();
    });
    choose(paintKey);
  }

  function figure() {
    const holder = part("figure");
    holder.dataset.ready = variant.name;
    drawFigure(holder, stage.scene, data.mutant, colouring.colour, variant.sites.map((s) => s - 1), (indices) => select(indices));
  }

  function tables() {
    // Measured scores that all read 1.0000 are said once.
    const built = NUMBER_ROWS.map(([, , column, decimals]) => [variant.numbers[column], decimals]).filter(([value]) => known(value));
    const measured = built.some(([value, decimals]) => Number(value.toFixed(decimals)) !== 1);
    part("scores").replaceChildren(
      el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col", class: "number" }, "predicted"), measured ? el("th", { scope: "col", class: "number" }, "measured") : null)),
      el("tbody", {}, ...NUMBER_ROWS.map(([name, a, b, decimals, words]) =>
        el("tr", {}, el("th", { scope: "row", title: words }, name), el("td", { class: "number" }, fixed(variant.numbers[a], decimals)),
          measured ? el("td", { class: "number" }, fixed(variant.numbers[b], decimals)) : null))),
    );
    const unmoved = built.length && !measured ? [el("tr", {}, el("th", { scope: "row" }, "All measured scores (built structure)"), el("td", { class: "number" }, "1.0000"))] : [];
    part("facts").replaceChildren(el("tbody", {}, ...unmoved, ...FACT_ROWS.filter(([column]) => known(variant.numbers[column])).map(([column, name, decimals, sign = 1]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }, fixed(sign * variant.numbers[column], decimals))))));
  }

  function light(number, indices) {
    lit = lit === number ? null : number;
    select(lit === null ? [] : indices, "list");
  }

  function regions() {
    // The bar shows what the regions stand in order of: how likely their residues are to change; else drop z.
    const places = variant.regions.map(({ stretches }) => stretches.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a - 1 + i)));
    const values = places.map((indices, k) => (data.chance ? mean(indices.map((i) => data.chance[i])) : variant.regions[k].z) || 0);
    const most = Math.max(...values, data.chance ? 0.1 : 4);
    const list = variant.regions.map((region, k) => {
      const where = region.stretches.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
      const z = known(region.z) ? `z ${fixed(region.z, 1)}` : "";
      const said = [region.disturbed && "beyond background", data.chance && z, known(region.drop) && `mean lDDT drop ${region.drop.toPrecision(2).replace("-", "−")}`,
        known(region.distance) && (region.distance ? `${region.distance.toFixed(0)} Å from the change` : "holds the change"),
        region.source && region.source !== "structure" && region.source].filter(Boolean).join(" · ");
      return el("li", { hidden: k >= SHOWN_REGIONS },
        el("button", { type: "button", class: `region${region.disturbed ? " beyond" : ""}`, "data-region": k, "aria-pressed": "false", onclick: () => light(k, places[k]) },
          el("span", { class: "where" }, el("b", {}, region.name || where), region.name ? ` ${where}` : ""),
          el("span", { class: "meter" }, el("i", { style: `width:${(100 * clamp(values[k], 0, most)) / most}%` })),
          el("span", { class: "z" }, data.chance ? `${(100 * values[k]).toFixed(0)} %` : z), el("small", {}, said)));
    });
    const more = el("button", { type: "button", class: "button", "aria-expanded": "false", onclick: () => {
      for (const item of list) item.hidden = false;
      more.remove();
    } }, `Show all ${list.length} regions`);
    const beyond = variant.structure[0] === "not assessed" ? "Not assessed: the background is made of substitutions. "
      : variant.regions.some(({ disturbed }) => disturbed) ? "Amber: beyond background. "
        : "No region is beyond background: its drop is too small, or no larger than what other substitutions do. ";
    part("regions").replaceChildren(...(list.length
      ? [el("p", { class: "quiet" }, beyond + (data.chance ? "Bars: how likely a residue of the region is to change, on average. z: drop against other substitutions (positive: worse)."
        : "Nearest regions first. Bars: drop z against other substitutions (positive: worse).")),
        el("ol", { class: "regions" }, ...list), ...(list.length > SHOWN_REGIONS ? [more] : [])]
      : [el("p", { class: "quiet" }, "Not known: the mutant was not predicted.")]));
  }

  function evidence() {
    part("evidence").replaceChildren(variant.evidence.length ? waterfall(variant.evidence)
      : el("p", { class: "quiet" }, variant.rule ? "This variant has no calibrated probability, so no evidence is weighed for it."
        : "No calibrated evidence in this run: the model ships no rule, so nothing is weighed here."));
  }

  function show(next) {
    variant = next;
    const letterAt = (i) => (variant.mutant.find(([index]) => index === i) || [0, page.sequence[i]])[1];
    data = { predicted: profile("lddt_predicted", next), measured: profile("lddt_measured", next), z: profile("lddt_drop_z", next),
      shift: profile("ca_shift", next), chance: profile("p_affected", next), band: next.sites.length ? nullBand(next) : null, mutant: null };
    if (!anyKnown(data.measured)) data.measured = null;
    if (!anyKnown(data.shift)) data.shift = null;
    if (!data.chance || !anyKnown(data.chance)) data.chance = null;
    part("name").textContent = next.name;
    part("hgvs").textContent = next.hgvs;
    const p = next.numbers.p_deleterious;
    part("flag").textContent = next.flag ? VERDICT[next.flag] + (known(p) ? ` ${probabilityText(p)}` : "") : next.status;
    part("flag").className = `chip ${(next.flag || next.status).replace(" ", "-")}`;
    const [state, why] = next.structure;
    part("structure").textContent = `structure ${state}`;
    part("structure").className = `chip ${state.replace(" ", "-")}`;
    part("structure").title = why;
    part("context").textContent = next.context ? `Site: ${next.context}.` : "";
    part("sentence").textContent = next.sentence[0].toUpperCase() + next.sentence.slice(1) + ".";
    const words = [["How the verdict was reached", next.rule], ["How the structure was judged", why], ["Confidence", [next.confidence, next.reason].filter(Boolean).join(": ")], ["Notes", next.notes], ["Not built because", next.message]];
    part("words").replaceChildren(...words.filter(([, text]) => text).map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
    if (stage) {
      if (next.atoms) {
        const changed = readAtoms("mutant", ...next.atoms);
        const byResidue = new Map([...stage.scene.wild, ...changed]);
        data.mutant = { byResidue, ca: alphaCarbons(byResidue), letterAt };
      }
      stage.setMutant(data.mutant || { ca: null, byResidue: null });
      part("built").hidden = Boolean(data.mutant);
    }
    tables();
    regions();
    evidence();
    colourControls();
    track.redraw();
    select([], "new"); // the camera stays: variants can be compared by going from one to the next
    if (stage) {
      part("figure-block").hidden = !data.mutant;
      part("figure").dataset.ready = "";
      if (data.mutant) requestAnimationFrame(figure);
      choice(part("show"), "Show", [{ key: "both", name: "Both" }, { key: "wild", name: "Wild type" }, { key: "mutant", name: "Mutant" }],
        (key) => { shown = key; paint(); })(shown);
      part("show").hidden = !data.mutant;
    } else part("figure-block").hidden = true;
    host.dataset.variant = next.name;
  }

  part("site").addEventListener("click", () => select(variant.sites.map((s) => s - 1)));
  part("reset").addEventListener("click", () => select([]));
  return { show, repaint: () => { if (variant) { track.redraw(); paint(); if (data.mutant && stage) figure(); } } };
}
