// The paper's figure: superposition, C-alpha distance matrix, and what the exchange changes in it.

function canvasFor(host, size) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { role: "img" });
  canvas.width = canvas.height = Math.round(size * ratio);
  canvas.style.width = canvas.style.height = `${size}px`;
  host.prepend(canvas);
  return canvas;
}

// One value for each pair of bins of residues; `join` makes one of two.
function pairMatrix(value, join, most = 500) {
  const size = Math.ceil(L / most), n = Math.ceil(L / size);
  const out = new Float32Array(n * n).fill(NaN);
  for (let i = 0; i < L; i++)
    for (let j = 0; j < L; j++) {
      const found = value(i, j);
      if (!Number.isFinite(found)) continue;
      const at = Math.floor(i / size) * n + Math.floor(j / size);
      out[at] = Number.isFinite(out[at]) ? join(out[at], found) : found;
    }
  return { n, size, out };
}

function paintMatrix(canvas, { n, out }, colour) {
  const image = new ImageData(n, n);
  for (let at = 0; at < n * n; at++) {
    const rgb = Number.isFinite(out[at]) ? colour(out[at]) : null;
    image.data.set(rgb ? [...rgb, 255] : [128, 128, 128, 40], 4 * at);
  }
  const small = new OffscreenCanvas(n, n);
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

// Where distances change most, in one sentence; and the ends of the scale. As mutscan.reports.changes does.
const QUIET = 0.5; // Å

function scaleOfChange({ out }) {
  const sizes = out.filter(Number.isFinite).map(Math.abs).sort();
  const place = 0.999 * (sizes.length - 1), low = Math.floor(place);
  const value = sizes.length ? sizes[low] + (place - low) * (sizes[Math.min(low + 1, sizes.length - 1)] - sizes[low]) : 0;
  return Math.max(value, QUIET);
}

function largestChange({ n, size, out }) {
  let best = 0;
  for (let at = 0; at < n * n; at++) if (Math.abs(out[at]) > Math.abs(out[best] || 0)) best = at;
  const most = out[best] || 0;
  const [i, j] = [Math.floor(best / n), best % n].sort((a, b) => a - b);
  const name = (a, b) => {
    const [first, last] = [a * size + 1, Math.min((b + 1) * size, L)];
    return first === last ? `${first}` : `${first}-${last}`;
  };
  if (Math.abs(most) <= QUIET)
    return `No distance changes by more than ${QUIET} Å` + (Math.abs(most) < 0.005 ? "." : `; the largest change is ${Math.abs(most).toFixed(2)} Å, between residues ${name(i, i)} and ${name(j, j)}.`);
  // Neighbours on either side that change the same way, at least half as much.
  const grow = (from, low, high, value) => {
    const ends = [from, from];
    while (ends[0] > low && value(ends[0] - 1) >= 0.5) ends[0] -= 1;
    while (ends[1] < high && value(ends[1] + 1) >= 0.5) ends[1] += 1;
    return ends;
  };
  const one = grow(i, 0, Math.max(i, j - 1), (k) => out[k * n + j] / most);
  const two = grow(j, Math.min(one[1] + 1, j), n - 1, (k) => out[i * n + k] / most);
  return `Largest change: residues ${name(...one)} against ${name(...two)}, ${Math.abs(most).toFixed(1)} Å ${most > 0 ? "farther apart" : "closer together"}.`;
}

function drawFigure(host, scene, mutant, shade, sites, onPick) {
  const away = (ca, i, j) => {
    const p = ca[i], q = ca[j];
    return p && q ? Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]) : NaN;
  };
  const size = Math.min(340, host.clientWidth > 900 ? (host.clientWidth - 56) / 3 : host.clientWidth);
  const panel = (title, words) => {
    const said = el("p", { class: "reading" }, words);
    const figure = el("figure", {}, el("figcaption", {}, title), said);
    host.append(figure);
    const holder = el("div");
    figure.insertBefore(holder, said);
    const canvas = canvasFor(holder, size);
    canvas.setAttribute("aria-label", `${title}. ${words}`);
    return { figure, canvas, said, words };
  };
  host.replaceChildren();

  const top = panel("Superposition", "Wild type in grey, mutant in the colours of the 3-D view.");
  const parts = makeParts(scene);
  parts.setMutant(mutant);
  parts.paint({ wild: () => css("--soft"), changed: shade, sites, selected: [], show: { wild: true, mutant: true } });
  const dense = Math.max(window.devicePixelRatio || 1, 2) * size;
  parts.draw(makeRaster(top.canvas), [dense, dense].map(Math.round), { turn: scene.turn, centre: [0, 0, 0], scale: (0.46 * dense) / scene.radius });

  const average = (a, b) => (a + b) / 2;
  const distance = pairMatrix((i, j) => away(i <= j ? scene.ca : mutant.ca, i, j), average);
  const farthest = distance.out.reduce((most, v) => (v > most ? v : most), 1);
  const near = (share) => cividis(1 - share);
  const one = panel("Cα distances", "Above the diagonal the wild type, below it the mutant; yellow: near.");
  paintMatrix(one.canvas, distance, (v) => near(v / farthest));
  one.figure.append(scaleBar(near, "0 Å", "", `${farthest.toFixed(0)} Å`));

  const change = pairMatrix((i, j) => away(mutant.ca, i, j) - away(scene.ca, i, j), (a, b) => (Math.abs(a) > Math.abs(b) ? a : b));
  const reach = scaleOfChange(change);
  const two = panel("Difference, mutant − wild type", largestChange(change));
  paintMatrix(two.canvas, change, (v) => gainLoss(0.5 + v / (2 * reach)));
  two.figure.append(scaleBar(gainLoss, `−${reach.toFixed(1)} Å, closer`, "0", `+${reach.toFixed(1)} Å, farther`));

  for (const panel of [one, two]) {
    const residues = (event) => {
      const box = panel.canvas.getBoundingClientRect();
      return [event.clientY - box.top, event.clientX - box.left].map((v) => clamp(Math.floor((v / box.width) * L), 0, L - 1));
    };
    panel.canvas.addEventListener("pointermove", (event) => {
      const [i, j] = residues(event);
      const wild = away(scene.ca, i, j), changed = away(mutant.ca, i, j);
      panel.said.textContent = `${page.sequence[i]}${i + 1} to ${page.sequence[j]}${j + 1}: ${fixed(wild, 1)} Å, in the mutant ${fixed(changed, 1)} Å (${changed >= wild ? "+" : ""}${fixed(changed - wild, 2)})`;
    });
    panel.canvas.addEventListener("pointerleave", () => { panel.said.textContent = panel.words; });
    panel.canvas.addEventListener("click", (event) => onPick([...new Set(residues(event))]));
  }
}
