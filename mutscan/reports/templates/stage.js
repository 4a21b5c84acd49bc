// The 3-D view: 3Dmol.js where it is in the page and WebGL works, else mutscan's own ribbons.

// Atoms of the wild type by residue, and what a mutant puts in their place.
function readAtoms(prefix, start = 0, count = undefined) {
  const residue = arrays[`${prefix}_residue`], name = arrays[`${prefix}_name`], xyz = arrays[`${prefix}_xyz`];
  const byResidue = new Map();
  const end = count === undefined ? residue.n : start + count;
  for (let i = start; i < end; i++) {
    const atom = [page.atoms.names[name.raw[i]], ...[0, 1, 2].map((k) => xyz.raw[3 * i + k] * xyz.step)];
    const index = residue.raw[i];
    if (!byResidue.has(index)) byResidue.set(index, []);
    byResidue.get(index).push(atom);
  }
  return byResidue;
}

function alphaCarbons(byResidue, length = L) {
  const ca = new Array(length).fill(null);
  for (const [index, atoms] of byResidue) {
    const found = atoms.find(([name]) => name === "CA");
    if (found) ca[index] = found.slice(1);
  }
  return ca;
}

// Rows of the rotation that shows the protein's two longest axes.
function mainAxes(points) {
  const spread = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  for (const p of points) for (let r = 0; r < 3; r++) for (let c = 0; c < 3; c++) spread[3 * r + c] += p[r] * p[c];
  const times = (v) => [0, 1, 2].map((r) => spread[3 * r] * v[0] + spread[3 * r + 1] * v[1] + spread[3 * r + 2] * v[2]);
  const without = (v, a) => plus(v, a, -dot(v, a));
  let a = [1, 0.3, 0.1], b = [0.1, 1, 0.3];
  for (let i = 0; i < 60; i++) a = unit(times(a)) || [1, 0, 0];
  b = unit(without(b, a)) || [0, 1, 0];
  for (let i = 0; i < 60; i++) b = unit(without(times(b), a)) || unit(cross(a, Math.abs(a[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0]));
  return [...a, ...b, ...cross(a, b)];
}

const THREE = { A: "ALA", C: "CYS", D: "ASP", E: "GLU", F: "PHE", G: "GLY", H: "HIS", I: "ILE", K: "LYS", L: "LEU",
  M: "MET", N: "ASN", P: "PRO", Q: "GLN", R: "ARG", S: "SER", T: "THR", V: "VAL", W: "TRP", Y: "TYR" };

function pdbText(byResidue, letterAt, turn) {
  const lines = [];
  let serial = 0;
  for (const index of [...byResidue.keys()].sort((a, b) => a - b))
    for (const [name, ...p] of byResidue.get(index)) {
      serial += 1;
      const q = [0, 1, 2].map((r) => turn[3 * r] * p[0] + turn[3 * r + 1] * p[1] + turn[3 * r + 2] * p[2]);
      lines.push(
        `ATOM  ${String(serial % 100000).padStart(5)} ${(name.length > 3 ? name : " " + name).padEnd(4)} ` +
        `${THREE[letterAt(index)] || "UNK"} A${String(index + 1).padStart(4)}    ` +
        q.map((x) => x.toFixed(3).padStart(8)).join("") + `  1.00  0.00          ${name[0].padStart(2)}`,
      );
    }
  return lines.join("\n") + "\nEND\n";
}

function make3Dmol(host, scene) {
  const inner = el("div", { class: "fill" });
  host.append(inner);
  const viewer = $3Dmol.createViewer(inner, { backgroundAlpha: 0, antialias: true, disableFog: false });
  let listener = () => {};
  let mutantModel = null;
  let state = { wild: null, changed: null, sites: [], selected: [], show: { wild: true, mutant: true } };
  const turned = (p) => ({
    x: scene.turn[0] * p[0] + scene.turn[1] * p[1] + scene.turn[2] * p[2],
    y: scene.turn[3] * p[0] + scene.turn[4] * p[1] + scene.turn[5] * p[2],
    z: scene.turn[6] * p[0] + scene.turn[7] * p[1] + scene.turn[8] * p[2],
  });
  const wildModel = viewer.addModel(pdbText(scene.wild, (i) => page.sequence[i], scene.turn), "pdb");
  const pick = (atom) => listener(atom.resi - 1);
  wildModel.setClickable({}, true, pick);
  viewer.zoomTo();

  const ribbon = (colour, opacity = 1) => ({ cartoon: { colorfunc: (atom) => colour(atom.resi - 1), thickness: 0.35, arrows: true, opacity } });
  // Drawing is dear: whatever changes within one frame is drawn once.
  let waiting = false, resized = false;
  const changed = { style: false };
  function later(style = true) {
    changed.style ||= style;
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }
  function draw() {
    waiting = false;
    if (resized) viewer.resize();
    resized = false;
    if (changed.style) style();
    changed.style = false;
    viewer.render();
    tell();
  }
  function style() {
    viewer.removeAllShapes();
    // Where both are shown the wild type is glassy: what moved shows through it.
    const glassy = mutantModel && state.changed && state.show.mutant;
    wildModel.setStyle({}, state.show.wild && state.wild ? ribbon(state.wild, glassy ? 0.55 : 1) : {});
    if (mutantModel) mutantModel.setStyle({}, state.show.mutant && state.changed ? ribbon(state.changed) : {});
    const marked = [...new Set([...state.sites, ...state.selected])].map((i) => i + 1);
    if (marked.length && marked.length < 60) {
      const atoms = { resi: marked, not: { atom: ["N", "C", "O"] } };
      if (state.show.wild) wildModel.setStyle(atoms, { stick: { radius: 0.16, colorscheme: { prop: "elem", map: elements("#8d99a5") } } }, true);
      if (mutantModel && state.show.mutant)
        mutantModel.setStyle(atoms, { stick: { radius: 0.2, colorscheme: { prop: "elem", map: elements(css("--site")) } } }, true);
    }
    for (const i of state.sites) if (scene.ca[i])
      viewer.addSphere({ center: turned(scene.ca[i]), radius: 1.1, color: css("--site"), alpha: 0.85 });
    for (const i of state.selected) if (scene.ca[i])
      viewer.addSphere({ center: turned(scene.ca[i]), radius: 0.9, color: css("--ink"), alpha: 0.6 });
  }
  const elements = (carbon) => ({ C: carbon, N: "#3050F8", O: "#FF0D0D", S: "#C9A400" });
  const tell = () => { host.dataset.view = JSON.stringify(viewer.getView().map((v) => Number(v.toFixed(3)))); };
  viewer.setViewChangeCallback(() => tell());

  return {
    engine: "3Dmol.js",
    setMutant: (mutant) => {
      if (mutantModel) viewer.removeModel(mutantModel);
      mutantModel = null;
      if (mutant.byResidue) {
        mutantModel = viewer.addModel(pdbText(mutant.byResidue, mutant.letterAt, scene.turn), "pdb");
        mutantModel.setClickable({}, true, pick);
      }
      later();
    },
    paint: (changes) => { state = { ...state, ...changes }; later(); },
    focus: (indices) => {
      if (indices.length) { viewer.zoomTo({ model: wildModel, resi: indices.map((i) => i + 1), expand: 6 }); if (indices.length < 4) viewer.zoom(0.6); }
      else viewer.zoomTo();
      later(false);
    },
    rotate: (dx, dy) => { viewer.rotate(dx, "y"); viewer.rotate(dy, "x"); later(false); },
    zoom: (factor) => { viewer.zoom(factor); later(false); },
    onPick: (call) => { listener = call; },
    resize: () => { resized = true; later(false); },
  };
}

// The stage in `host`, large enough for `more` points as well, what draws it said in `note`; null where the run has no structure.
function makeStage(host, note, more = []) {
  if (!page.atoms || !arrays.wild_type_xyz) return null;
  const wild = readAtoms("wild_type");
  const ca = alphaCarbons(wild);
  const points = [...ca, ...more].filter(Boolean);
  // A loose tail may leave the picture: it would make everything else small.
  const reach = points.map((p) => Math.hypot(...p)).sort((a, b) => a - b);
  const radius = Math.max(Math.min(1.15 * reach[Math.floor(0.95 * (reach.length - 1))], reach.at(-1)), 5);
  const turn = mainAxes(points);
  // Half the width and height of what is seen at first; a little of a long protein may leave the picture when it turns.
  const spread = [0, 3].map((r) => Math.max(points.reduce((most, p) => Math.max(most, Math.abs(dot(turn.slice(r, r + 3), p))), 0) + 2, radius / 1.35));
  const scene = { wild, ca, turn, radius, spread, elements: (page.places && page.places.elements) || [] };
  let stage = null;
  let why = page.viewer_note;
  if (typeof $3Dmol !== "undefined") {
    try {
      stage = make3Dmol(host, scene);
    } catch (error) {
      why = `3Dmol.js could not start here (${error.message || "no WebGL"})`;
      host.replaceChildren();
    }
  }
  stage = stage || makeTrace(host, scene);
  host.dataset.engine = stage.engine;
  if (note) note.textContent = stage.engine === "canvas"
    ? `Drawn by mutscan itself: ${why}.`
    : `Drawn by ${why}.`;
  host.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-15, 0], ArrowRight: [15, 0], ArrowUp: [0, -15], ArrowDown: [0, 15] }[event.key];
    if (step) stage.rotate(...step);
    else if (event.key === "+" || event.key === "=") stage.zoom(1.25);
    else if (event.key === "-") stage.zoom(0.8);
    else if (event.key === "0") stage.focus([]);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => stage.resize()).observe(host);
  return Object.assign(stage, { scene });
}
