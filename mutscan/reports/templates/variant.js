// One variant at a time: its 3-D view, its numbers, its track, what speaks for and against it, its figure.

const NUMBER_ROWS = [
  ["TM-score", "tm_predicted", "tm_measured", 4, "How alike the two folds are as wholes; 1 is identical."],
  ["lDDT, mean", "lddt_predicted_mean", "lddt_measured_mean", 4, "Share of each residue's local distances that are kept, averaged; 1 is all."],
  ["lDDT, lowest", "lddt_predicted_min", "lddt_measured_min", 4, "The residue whose surroundings change most."],
  ["lDDT at the site", "lddt_predicted_site", "lddt_measured_site", 4, "At the changed residue itself."],
];
const FACT_ROWS = [
  ["p_deleterious", "Probability of being deleterious", 2],
  ["z_score", "z against other substitutions", 2],
  ["lddt_percentile", "Percentile (0 = most disruptive)", 1],
  ["ca_shift_site", "Cα shift at the site, Å", 2],
  ["ca_shift_max", "Largest Cα shift, Å", 2],
  ["ddg_predicted", "Predicted ΔΔG, kcal/mol (positive: destabilising)", 2],
  ["n_residues_affected", "Residues affected", 0],
  ["plddt_site", "pLDDT at the site", 0],
  ["alphamissense", "AlphaMissense (another method, not in the verdict)", 3],
];
const VERDICT = { deleterious: "likely deleterious", tolerated: "likely tolerated", uncertain: "uncertain" };

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

function lowest(name) {
  const all = numbers(name);
  let least = 1;
  if (all) for (const value of all) if (value < least) least = value;
  const step = least >= 0.9 ? 0.05 : 0.1;
  return clamp(Math.floor(least / step + 1e-6) * step, 0, 1 - step);
}

function makeVariantView(host) {
  const part = (name) => host.querySelector(`[data-part="${name}"]`);
  const stageHost = part("stage");
  const stage = makeStage(stageHost, part("engine"));
  const lows = { predicted: lowest("lddt_predicted"), measured: lowest("lddt_measured") };
  const plddt = numbers("plddt");
  let variant = null, data = null, colouring = null, paintKey = "drop", shown = "both";

  if (!stage) {
    stageHost.replaceChildren(el("p", {}, "No structure in this run: nothing to turn."));
    stageHost.classList.add("empty");
    part("controls").hidden = true;
  }

  function describe(i) {
    const said = [residueName(i)];
    const replaced = variant.mutant.find(([index]) => index === i);
    if (replaced) said[0] += ` → ${replaced[1]}`;
    if (data.predicted && Number.isFinite(data.predicted[i])) said.push(`predicted lDDT ${fixed(data.predicted[i])}`);
    if (data.z && Number.isFinite(data.z[i])) said.push(`drop z ${fixed(data.z[i], 1)}`);
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
        lanes.push(profileLane({ title: "Predicted lDDT", kind: "predicted", values: data.predicted, low: lows.predicted, band: data.band,
          legend: data.band ? "band: what other substitutions of this protein do (± 3 robust s.d.)" : "" }));
      if (anyKnown(data.measured))
        lanes.push(profileLane({ title: "Measured lDDT (built structure)", kind: "measured", values: data.measured, low: lows.measured, height: 60,
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
    const measured = NUMBER_ROWS.some(([, , column]) => known(variant.numbers[column]));
    part("scores").replaceChildren(
      el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col", class: "number" }, "predicted"), measured ? el("th", { scope: "col", class: "number" }, "measured") : null)),
      el("tbody", {}, ...NUMBER_ROWS.map(([name, a, b, decimals, words]) =>
        el("tr", {}, el("th", { scope: "row", title: words }, name), el("td", { class: "number" }, fixed(variant.numbers[a], decimals)),
          measured ? el("td", { class: "number" }, fixed(variant.numbers[b], decimals)) : null))),
    );
    part("facts").replaceChildren(el("tbody", {}, ...FACT_ROWS.filter(([column]) => known(variant.numbers[column])).map(([column, name, decimals]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }, fixed(variant.numbers[column], decimals))))));
  }

  function regions() {
    const list = variant.regions.filter((region) => region.disturbed).map((region) => {
      const indices = region.stretches.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a - 1 + i));
      const where = region.stretches.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
      const said = [region.source && `named by ${region.source === "structure" ? "the structure itself" : region.source}`,
        known(region.drop) && `mean lDDT drop ${region.drop.toPrecision(2)}`].filter(Boolean).join("; ");
      return el("li", {}, el("button", { type: "button", class: "link", onclick: () => select(indices) }, where),
        region.name ? ` ${region.name}` : "", el("small", {}, said));
    });
    part("regions").replaceChildren(list.length ? el("ul", { class: "plain" }, ...list)
      : el("p", { class: "quiet" }, known(variant.numbers.lddt_predicted_mean) || known(variant.numbers.lddt_measured_mean)
        ? "No affected region: no stretch of residues drops beyond its background."
        : "Not known: nothing was predicted or built."));
  }

  function evidence() {
    const most = Math.max(...variant.evidence.map(([, , weight]) => Math.abs(weight)), 0.5);
    const rows = variant.evidence.map(([name, value, weight]) =>
      el("tr", { class: weight > 0 ? "against" : "for" },
        el("th", { scope: "row" }, name), el("td", { class: "seen" }, value),
        el("td", { class: "bar" }, el("span", { style: `${weight > 0 ? "left" : "right"}:50%;width:${(50 * Math.abs(weight)) / most}%` })),
        el("td", { class: "number" }, (weight > 0 ? "+" : "") + fixed(weight, 2))));
    part("evidence").replaceChildren(rows.length
      ? el("table", { class: "diverging" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Evidence"), el("th", { scope: "col", class: "seen" }, "what was seen"),
          el("th", { scope: "col", class: "sides" }, el("span", {}, "← tolerated"), el("span", {}, "deleterious →")), el("th", { scope: "col", class: "number" }, "log-odds"))),
        el("tbody", {}, ...rows))
      : el("p", { class: "quiet" }, variant.rule ? "This variant has no calibrated probability, so no evidence is weighed for it."
        : "No calibrated evidence in this run: the model ships no rule, so nothing is weighed here."));
  }

  function show(next) {
    variant = next;
    const letterAt = (i) => (variant.mutant.find(([index]) => index === i) || [0, page.sequence[i]])[1];
    data = { predicted: profile("lddt_predicted", next), measured: profile("lddt_measured", next), z: profile("lddt_drop_z", next),
      shift: profile("ca_shift", next), band: next.sites.length ? nullBand(next) : null, mutant: null };
    if (!anyKnown(data.measured)) data.measured = null;
    if (!anyKnown(data.shift)) data.shift = null;
    part("name").textContent = next.name;
    part("hgvs").textContent = next.hgvs;
    part("flag").textContent = next.flag ? VERDICT[next.flag] || next.flag : next.status;
    part("flag").className = `chip ${next.flag || next.status}`;
    part("sentence").textContent = next.sentence[0].toUpperCase() + next.sentence.slice(1) + ".";
    const words = [["How the verdict was reached", next.rule], ["Confidence", next.confidence], ["Notes", next.notes], ["Not built because", next.message]];
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

// The map under the headline: every variant where it is, as high as it is disruptive.
function drawMap(host, variants, open) {
  const probability = variants.some((variant) => known(variant.numbers.p_deleterious));
  const height = (variant) => {
    const value = probability ? variant.numbers.p_deleterious : known(variant.numbers.z_score) ? clamp(-variant.numbers.z_score / 6, 0, 1) : null;
    return known(value) ? value : 0;
  };
  const lanes = [{
    title: probability ? "Probability of being deleterious" : "Disruption: −z against other substitutions of this protein", height: 106,
    draw: ({ front, back, x, top: above, height: whole, width }) => {
      const top = above + 14, full = whole - 14; // room for a name over the highest
      for (const share of [0, 0.5, 1]) {
        const y = top + full * (1 - share);
        back.append(svg("path", { d: `M${TRACK.left} ${y}H${width - TRACK.right}`, class: "grid" }));
        const label = svg("text", { x: width - TRACK.right, y: y + (share === 1 ? 10 : -2), class: "tick", "text-anchor": "end" });
        label.textContent = probability ? share : (6 * share).toFixed(0);
        front.append(label);
      }
      const drawn = [...variants].sort((a, b) => height(a) - height(b));
      // The highest are named first, and only where no name stands yet.
      const named = new Set(), taken = [];
      for (const variant of [...drawn].reverse()) {
        if (named.size === Math.floor(width / 110) || !variant.sites.length) continue;
        const at = x(variant.sites[0] - 1), y = height(variant);
        if (taken.some(([x0, y0]) => Math.abs(x0 - at) < 62 && Math.abs(y0 - y) < 0.22)) continue;
        named.add(variant);
        taken.push([at, y]);
      }
      for (const variant of drawn) {
        const y = top + full * (1 - height(variant));
        const group = svg("g", { class: `stem ${variant.flag || "none"}`, "data-map": variant.name });
        for (const site of variant.sites) {
          const at = x(site - 1);
          group.append(svg("path", { d: `M${at} ${top + full}V${y}` }), svg("circle", { cx: at, cy: y, r: 5 }));
        }
        const title = svg("title");
        title.textContent = `${variant.name}: ${variant.sentence}`;
        group.append(title);
        if (named.has(variant)) {
          const at = x(variant.sites[0] - 1);
          const label = svg("text", { x: clamp(at, 30, width - 34), y: y - 8, class: "stem-name", "text-anchor": "middle" });
          label.textContent = variant.name.length > 14 ? variant.name.slice(0, 13) + "…" : variant.name;
          group.append(label);
        }
        group.addEventListener("click", () => open(variant.name));
        front.append(group);
      }
    },
  }, ...domainLanes((page.places && page.places.domains) || []), ...siteLane((page.places && page.places.sites) || [])];
  const redraw = () => drawLanes(host, lanes, { range: [0, L - 1] });
  new ResizeObserver(redraw).observe(host);
  redraw();
  return redraw;
}
