// The paper's figure: superposition, C-alpha distance matrix, and what the exchange changes in it.

function canvasFor(host, size) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { role: "img" });
  canvas.width = canvas.height = Math.round(size * ratio);
  canvas.style.width = canvas.style.height = `${size}px`;
  host.prepend(canvas);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [canvas, context];
}

// One value for each pair of bins of residues; `join` makes one of two.
function pairMatrix(value, join, most = 420) {
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
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function scaleBar(colour, left, middle, right) {
  const stops = Array.from({ length: 9 }, (_, i) => `rgb(${colour(i / 8).join(" ")})`).join(",");
  return el("div", { class: "scale" }, el("span", { class: "bar", style: `background:linear-gradient(90deg,${stops})` }),
    el("span", { class: "ends" }, el("span", {}, left), el("span", {}, middle), el("span", {}, right)));
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
    const [canvas, context] = canvasFor(holder, size);
    canvas.setAttribute("aria-label", `${title}. ${words}`);
    return { figure, canvas, context, said, words };
  };
  host.replaceChildren();

  const top = panel("Superposition", "Wild type in grey, mutant in the colours of the 3-D view.");
  {
    const radius = scene.radius * 1.08;
    const at = (p) => [0, 1, 2].map((r) => scene.turn[3 * r] * p[0] + scene.turn[3 * r + 1] * p[1] + scene.turn[3 * r + 2] * p[2]);
    const pieces = [];
    for (const [ca, colour] of [[scene.ca, () => css("--soft")], [mutant, shade]])
      for (let i = 0; i + 1 < L; i++) {
        if (!ca[i] || !ca[i + 1] || away(ca, i, i + 1) > 4.5) continue;
        const p = at(ca[i]), q = at(ca[i + 1]);
        pieces.push([(p[2] + q[2]) / 2 + (ca === mutant ? 0.2 : 0), p, q, colour(i)]);
      }
    pieces.sort((a, b) => a[0] - b[0]);
    const place = (p) => [size / 2 + (p[0] / radius) * (size / 2), size / 2 - (p[1] / radius) * (size / 2)];
    top.context.lineCap = "round";
    for (const [z, p, q, colour] of pieces) {
      top.context.globalAlpha = clamp(0.75 + (0.25 * z) / radius, 0.45, 1);
      top.context.strokeStyle = colour;
      top.context.lineWidth = 2.2;
      top.context.beginPath();
      top.context.moveTo(...place(p));
      top.context.lineTo(...place(q));
      top.context.stroke();
    }
    top.context.globalAlpha = 1;
    top.context.fillStyle = css("--site");
    for (const i of sites) if (mutant[i]) {
      top.context.beginPath();
      top.context.arc(...place(at(mutant[i])), 5, 0, 7);
      top.context.fill();
    }
  }

  const average = (a, b) => (a + b) / 2;
  const distance = pairMatrix((i, j) => away(i <= j ? scene.ca : mutant, i, j), average);
  const farthest = distance.out.reduce((most, v) => (v > most ? v : most), 1);
  const near = (share) => cividis(1 - share);
  const one = panel("Cα distances", "Above the diagonal the wild type, below it the mutant.");
  paintMatrix(one.canvas, distance, (v) => near(v / farthest));
  one.figure.append(scaleBar(near, "0 Å", "", `${farthest.toFixed(0)} Å`));

  const change = pairMatrix((i, j) => away(mutant, i, j) - away(scene.ca, i, j), (a, b) => (Math.abs(a) > Math.abs(b) ? a : b));
  const most = change.out.reduce((m, v) => Math.max(m, Number.isFinite(v) ? Math.abs(v) : 0), 0);
  // A scale of its own for each variant, but never so fine that the last digits look like a change.
  const reach = Math.max(most, 0.5);
  const two = panel("Difference, mutant − wild type", `Largest change ${most.toFixed(2)} Å.`);
  paintMatrix(two.canvas, change, (v) => gainLoss(0.5 + v / (2 * reach)));
  two.figure.append(scaleBar(gainLoss, `−${reach.toFixed(1)} Å, nearer`, "0", `+${reach.toFixed(1)} Å, farther`));

  for (const panel of [one, two]) {
    const residues = (event) => {
      const box = panel.canvas.getBoundingClientRect();
      return [event.clientY - box.top, event.clientX - box.left].map((v) => clamp(Math.floor((v / box.width) * L), 0, L - 1));
    };
    panel.canvas.addEventListener("pointermove", (event) => {
      const [i, j] = residues(event);
      const wild = away(scene.ca, i, j), changed = away(mutant, i, j);
      panel.said.textContent = `${page.sequence[i]}${i + 1} to ${page.sequence[j]}${j + 1}: ${fixed(wild, 1)} Å, in the mutant ${fixed(changed, 1)} Å (${changed >= wild ? "+" : ""}${fixed(changed - wild, 2)})`;
    });
    panel.canvas.addEventListener("pointerleave", () => { panel.said.textContent = panel.words; });
    panel.canvas.addEventListener("click", (event) => onPick([...new Set(residues(event))]));
  }
}
