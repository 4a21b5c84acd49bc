// A scan: 20 residues by L positions, bars above, the structure beside it.

// What a cell can show: name, text of a value, its share of harm (0 mild, 1 most harmful), what the ends mean.
const SCORES = {
  rank: ["Rank", (v) => (known(v) ? `${v}` : "—"), (v, most) => 1 - (v - 1) / Math.max(most - 1, 1), ["mildest", "most harmful"]],
  p_deleterious: ["P(deleterious)", (v) => probabilityText(v), (v) => v, ["0", "1"]],
  drop_z: ["Drop z", (v) => fixed(v, 2), (v) => clamp(v / 6, 0, 1), ["0 or less", "6 or more"]],
  lddt_percentile: ["lDDT percentile", (v) => fixed(v, 1), (v) => 1 - v / 100, ["100, mild", "0, most disruptive"]],
  lddt_predicted_mean: ["Mean lDDT", (v) => fixed(v, 4), (v, least) => (1 - v) / (1 - least || 1), ["1", "lowest"]],
};

// A probability below 1 gets more decimals before it reads as 1.
function probabilityText(value) {
  for (let decimals = 2; ; decimals++) {
    const text = fixed(value, decimals);
    if (!(value < 1) || !text.startsWith("1")) return text;
  }
}

function startScan() {
  const host = document.getElementById("scan");
  const part = (name) => host.querySelector(`[data-part="${name}"]`);
  const at = new Map(page.positions.map((position, row) => [position - 1, row]));
  const n = page.positions.length;
  const scores = {};
  for (const name of Object.keys(SCORES)) {
    const values = numbers(`scan_${name}`);
    if (values && values.some(Number.isFinite)) scores[name] = values;
  }
  const ends = {
    rank: scores.rank.reduce((m, v) => (v > m ? v : m), 1),
    lddt_predicted_mean: (scores.lddt_predicted_mean || [1]).reduce((m, v) => (v < m ? v : m), 1),
  };
  const ranked = scores.rank.filter(Number.isFinite).length;
  const texts = new TextDecoder();
  const told = texts.decode(arrays.told.raw).split("\n");
  let score = Object.keys(scores)[0];
  const value = (row, letter, name = score) => scores[name][row * 20 + page.letters.indexOf(letter)];
  const share = (v) => SCORES[score][2](v, ends[score]);
  const text = (row, letter, key) => SCORES[key][1](value(row, letter, key));

  const stageHost = part("stage");
  const stage = makeStage(stageHost, part("engine"));
  if (!stage) { stageHost.replaceChildren(el("p", {}, "No structure of the wild type was given or found, so there is none to show.")); stageHost.classList.add("empty"); part("colour").hidden = true; part("legend").hidden = true; }
  let cursor = { row: 0, line: 0 }, colouring = null, paintKey = "score";

  const canvas = part("heat"), bars = part("bars"), scroller = part("scroller");
  let cell = 4, line = 15;

  const meanShare = () => Array.from({ length: n }, (_, row) => mean([...page.letters].map((letter) => share(value(row, letter)))));

  function draw() {
    const ratio = n > 1500 ? 1 : window.devicePixelRatio || 1;
    const room = scroller.clientWidth - 2;
    cell = Math.max(3, Math.floor((room / n) * 100) / 100);
    line = 15;
    const width = Math.ceil(cell * n);
    for (const [target, height] of [[canvas, 20 * line + 16], [bars, 46]]) {
      target.width = width * ratio;
      target.height = height * ratio;
      target.style.width = `${width}px`;
      target.style.height = `${height}px`;
      target.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    const context = canvas.getContext("2d"), above = bars.getContext("2d");
    context.fillStyle = css("--panel");
    context.fillRect(0, 0, width, 20 * line);
    const means = meanShare();
    for (let row = 0; row < n; row++) {
      const own = page.sequence[page.positions[row] - 1];
      for (let y = 0; y < 20; y++) {
        const found = value(row, page.rows[y]);
        if (Number.isFinite(found)) {
          context.fillStyle = `rgb(${cividis(share(found)).join(" ")})`;
          context.fillRect(row * cell, y * line, cell + 0.3, line + 0.3);
        } else if (page.rows[y] === own) {
          context.fillStyle = css("--ink");
          context.beginPath();
          context.arc((row + 0.5) * cell, (y + 0.5) * line, Math.min(cell * 0.32, 3), 0, 7);
          context.fill();
        }
      }
      above.fillStyle = `rgb(${cividis(means[row]).join(" ")})`;
      above.fillRect(row * cell, 44 * (1 - means[row]), Math.max(cell - 0.5, 1), 44 * means[row] + 2);
    }
    context.fillStyle = css("--soft");
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    const step = roundStep(n, width / 60);
    for (let row = 0; row < n; row++)
      if (page.positions[row] % step === 0) context.fillText(page.positions[row], clamp((row + 0.5) * cell, 12, width - 12), 20 * line + 12);
    part("letters").replaceChildren(...[...page.rows].map((letter) => el("span", {}, letter)));
    mark();
  }

  let marked = null;

  function mark() {
    const frame = part("cursor");
    frame.style.cssText = `left:${cursor.row * cell}px;top:${cursor.line * line}px;width:${Math.max(cell, 3)}px;height:${line}px`;
    part("column").style.cssText = `left:${cursor.row * cell}px;width:${Math.max(cell, 3)}px;height:${20 * line}px`;
    const runs = marked === null ? [] : spans(page.positions.flatMap((position, row) => (inRegion(marked, position) ? [row] : [])));
    part("marks").replaceChildren(...runs.map(([a, b]) => el("div", { style: `left:${a * cell}px;width:${(b - a + 1) * cell}px;height:${20 * line}px` })));
  }

  const inRegion = (number, position) => page.regions[number].some(([first, last]) => first <= position && position <= last);

  // A region is marked until it is clicked again.
  function markRegion(number) {
    marked = marked === number ? null : number;
    for (const button of document.querySelectorAll("[data-region]")) button.setAttribute("aria-pressed", Number(button.dataset.region) === marked);
    host.dataset.region = marked === null ? "" : marked;
    mark();
    const inside = [...Array(L).keys()].filter((index) => marked !== null && inRegion(marked, index + 1));
    if (inside.length) {
      show(page.positions.findIndex((position) => inRegion(marked, position)));
      host.scrollIntoView({ block: "start" });
    }
    if (stage) {
      stage.paint({ selected: inside.length ? inside : [page.positions[cursor.row] - 1] });
      stage.focus(inside);
    }
  }

  const nameOf = (row, letter) => {
    const position = page.positions[row], own = page.sequence[position - 1];
    return own === letter ? `${residueName(position - 1)}: the wild type's own residue` : `${own}${position}${letter}`;
  };

  function say() {
    const letter = page.rows[cursor.line], own = page.sequence[page.positions[cursor.row] - 1];
    const numbers = Object.keys(scores).map((key) => `${SCORES[key][0]} ${text(cursor.row, letter, key)}${key === "rank" ? ` of ${ranked}` : ""}`);
    const words = own === letter ? nameOf(cursor.row, letter) : `${nameOf(cursor.row, letter)} · ${numbers.join(" · ")}`;
    part("reading").textContent = words;
    scroller.setAttribute("aria-valuetext", words);
    scroller.setAttribute("aria-valuenow", page.positions[cursor.row]);
  }

  // The sentence of the chosen cell.
  function tell() {
    const letter = page.rows[cursor.line], own = page.sequence[page.positions[cursor.row] - 1];
    const sentence = told[cursor.row * 20 + page.letters.indexOf(letter)];
    part("cell").textContent = nameOf(cursor.row, letter);
    part("told").textContent = own === letter ? "" : sentence ? `${sentence[0].toUpperCase()}${sentence.slice(1)}.` : "The sentence of this substitution is left out of the page, which holds those of the worst ones; its row in variants.csv says all.";
    part("context").textContent = page.contexts[cursor.row];
    for (const row of part("substitutions").rows) row.classList.toggle("open", row.dataset.letter === letter);
  }

  function show(row) {
    const x = row * cell;
    if (x < scroller.scrollLeft || x > scroller.scrollLeft + scroller.clientWidth - 20) scroller.scrollLeft = x - scroller.clientWidth / 2;
  }

  function openPosition(row, { from = "" } = {}) {
    cursor.row = row;
    const position = page.positions[row], own = page.sequence[position - 1];
    // The worst first; a rank is known wherever a score is.
    const sorted = [...page.rows].filter((letter) => letter !== own).sort((a, b) => value(row, a, "rank") - value(row, b, "rank"));
    if (!from || from === "stage") cursor.line = page.rows.indexOf(sorted[0]);
    part("position").textContent = `All substitutions of ${residueName(position - 1)}, the worst first`;
    part("substitutions").replaceChildren(...sorted.map((letter) => el("tr", { "data-variant": `${own}${position}${letter}`, "data-letter": letter }, el("th", { scope: "row" }, `${own}${position}${letter}`),
      ...Object.keys(scores).map((key) => el("td", { class: "number" }, text(row, letter, key))))));
    host.dataset.selected = position;
    if (from !== "heat") show(row);
    mark();
    say();
    tell();
    if (stage) {
      stage.paint({ selected: [position - 1] });
      stageHost.dataset.focus = position;
      if (from !== "stage") stage.focus([position - 1]);
    }
    for (const one of document.querySelectorAll("#all tr[data-open]")) one.classList.toggle("open", Number(one.dataset.open) === position);
  }

  part("heads").replaceChildren(el("th", { scope: "col" }, "Variant"), ...Object.keys(scores).map((key) => el("th", { scope: "col", class: "number" }, SCORES[key][0])));
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    return { row: clamp(Math.floor((event.clientX - box.left) / cell), 0, n - 1), line: clamp(Math.floor((event.clientY - box.top) / line), 0, 19) };
  };
  canvas.addEventListener("pointermove", (event) => { const before = { ...cursor }; cursor = cellAt(event); say(); cursor = before; });
  canvas.addEventListener("pointerleave", say);
  canvas.addEventListener("click", (event) => { cursor = cellAt(event); openPosition(cursor.row, { from: "heat" }); });
  bars.addEventListener("click", (event) => openPosition(cellAt(event).row, { from: "heat" }));
  part("substitutions").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    cursor.line = page.rows.indexOf(row.dataset.letter);
    mark();
    say();
    tell();
  });
  scroller.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [-10, 0], PageDown: [10, 0] }[event.key] || [0, 0];
    if (!dx && !dy) return;
    cursor.line = clamp(cursor.line + dy, 0, 19);
    openPosition(clamp(cursor.row + dx, 0, n - 1), { from: "keys" });
    event.preventDefault();
  });
  scroller.setAttribute("aria-valuemin", page.positions[0]);
  scroller.setAttribute("aria-valuemax", page.positions[n - 1]);

  function colourControls() {
    const means = meanShare();
    const byPosition = new Float32Array(L).fill(NaN);
    means.forEach((v, row) => { byPosition[page.positions[row] - 1] = v; });
    const options = colourings({ score: byPosition, scoreName: `${SCORES[score][0]}, mean`, scoreEnds: SCORES[score][3] });
    choice(part("colour"), "Colour by", options, (key) => {
      paintKey = key;
      colouring = options.find((one) => one.key === key);
      if (stage) stage.paint({ wild: colouring.wild || colouring.colour, changed: null });
      part("legend").replaceChildren(colouring.legend());
    })(paintKey);
  }

  choice(part("score"), "Cells show", Object.keys(scores).map((key) => ({ key, name: SCORES[key][0] })), (key) => {
    score = key;
    draw();
    part("scale").replaceChildren(scaleBar(cividis, SCORES[score][3][0], SCORES[score][0], SCORES[score][3][1]));
    colourControls();
  })(score);

  if (stage) stage.onPick((index) => { if (at.has(index)) openPosition(at.get(index), { from: "stage" }); });
  makeTable(document.querySelector("#all table"), (position) => { openPosition(at.get(Number(position) - 1)); host.scrollIntoView({ block: "start" }); });
  for (const button of document.querySelectorAll("[data-region]"))
    button.addEventListener("click", () => markRegion(Number(button.dataset.region)));
  document.querySelector("[data-design]").addEventListener("click", () => {
    // A spreadsheet takes a file without the mark for another encoding.
    const address = URL.createObjectURL(new Blob(["\ufeff", arrays.design.raw], { type: "text/csv" }));
    el("a", { href: address, download: `${page.design_name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
  new ResizeObserver(draw).observe(scroller);
  repaints.push(() => { draw(); colourControls(); });
  const worst = meanShare().reduce((best, v, row, all) => (v > all[best] ? row : best), 0);
  cursor.row = worst;
  openPosition(worst);
  if (stage) stage.focus([]);
}
