// The 3-D view drawn by mutscan itself: shaded ribbons, filled here pixel by pixel with a depth
// buffer. It needs neither WebGL nor a library, so it works in every browser and on paper.

// Half axes of the ribbon across and through, Å.
const SHAPES = { helix: [1.3, 0.3], strand: [1.1, 0.28], loop: [0.32, 0.32] };
const ARROW = [1.9, 1.6]; // half width of an arrow's base, and its length in residues
const LINKED = 4.5; // Å; C-alpha atoms farther apart are no neighbours

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const plus = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
const unit = (a) => { const n = Math.hypot(...a); return n > 1e-9 ? a.map((x) => x / n) : null; };

// Kind of each residue, and where its strand ends.
function shapeOf(elements, n) {
  const kind = new Array(n).fill("loop"), tip = new Array(n).fill(-1);
  for (const { kind: what, start, end } of elements)
    for (let i = start - 1; i < end; i++) { kind[i] = what; if (what === "strand") tip[i] = end - 1; }
  return { kind, tip };
}

// Rings of points joined to a surface: each ring is a centre, two half axes, and the residue it colours.
function makeMesh(sides) {
  const points = [], normals = [], faces = [], owners = [];
  let rings = 0;
  return {
    ring(centre, across, through, a, b, owner, joined) {
      for (let k = 0; k < sides; k++) {
        const c = Math.cos((2 * Math.PI * k) / sides), s = Math.sin((2 * Math.PI * k) / sides);
        points.push(...plus(plus(centre, across, a * c), through, b * s));
        normals.push(...unit(plus(across.map((x) => x * b * c), through, a * s)));
        if (!joined) continue;
        const now = rings * sides, next = (k + 1) % sides;
        faces.push(now - sides + k, now - sides + next, now + next, now - sides + k, now + next, now + k);
        owners.push(owner, owner);
      }
      rings += 1;
    },
    done: () => ({ points: Float32Array.from(points), normals: Float32Array.from(normals), faces: Uint32Array.from(faces), owners: Int32Array.from(owners) }),
  };
}

// A chain as a ribbon: Catmull-Rom through the C-alpha atoms, flat where helix or strand, arrows at the ends of strands.
function ribbon(ca, elements, { steps, sides, thin = 1 }) {
  const { kind, tip } = shapeOf(elements, ca.length);
  const mesh = makeMesh(sides), balls = [];
  for (let first = 0; first < ca.length; first++) {
    if (!ca[first]) continue;
    let last = first;
    while (ca[last + 1] && Math.hypot(...minus(ca[last + 1], ca[last])) <= LINKED) last += 1;
    const n = last - first + 1;
    balls.push([first, ca[first]], [last, ca[last]]);
    // The pleat of a strand is smoothed away.
    const p = Array.from({ length: n }, (_, j) => {
      const i = first + j, here = ca[i];
      return kind[i] === "strand" && j > 0 && j < n - 1 ? [0, 1, 2].map((k) => (ca[i - 1][k] + 2 * here[k] + ca[i + 1][k]) / 4) : here;
    });
    // Across: normal to the plane of three neighbours, the same side all along.
    let side = [0, 0, 1];
    const raw = p.map((_, j) => {
      const i = first + clamp(j, 1, Math.max(n - 2, 1));
      const plane = n > 2 ? unit(cross(minus(ca[i], ca[i - 1]), minus(ca[i + 1], ca[i]))) : null;
      if (plane) side = dot(plane, side) < 0 ? plane.map((x) => -x) : plane;
      return side;
    });
    const wide = raw.map((here, j) => unit(plus(plus(here, raw[Math.max(j - 1, 0)]), raw[Math.min(j + 1, n - 1)])) || here);
    const point = (j) => (j < 0 ? plus(p[0], minus(p[0], p[Math.min(1, n - 1)])) : j >= n ? plus(p[n - 1], minus(p[n - 1], p[Math.max(n - 2, 0)])) : p[j]);
    for (let s = 0; n > 1 && s <= (n - 1) * steps; s++) {
      const u = s / steps, j = Math.min(Math.floor(u), n - 2), t = u - j;
      const [a, b, c, d] = [point(j - 1), point(j), point(j + 1), point(j + 2)];
      const centre = [0, 1, 2].map((k) => b[k] + 0.5 * t * (c[k] - a[k] + t * (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k] + t * (3 * (b[k] - c[k]) + d[k] - a[k]))));
      const along = unit([0, 1, 2].map((k) => c[k] - a[k] + 2 * t * (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) + 3 * t * t * (3 * (b[k] - c[k]) + d[k] - a[k]))) || [1, 0, 0];
      const lean = plus(wide[j].map((x) => x * (1 - t)), wide[j + 1], t);
      const across = unit(plus(lean, along, -dot(lean, along))) || unit(cross(along, Math.abs(along[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0]));
      const ease = t * t * (3 - 2 * t), here = SHAPES[kind[first + j]], there = SHAPES[kind[first + j + 1]];
      let [half, through] = [0, 1].map((k) => here[k] + ease * (there[k] - here[k]));
      const left = tip[first + j] - first - u;
      if (tip[first + j] >= 0 && left >= 0 && left <= ARROW[1]) half = SHAPES.loop[0] + ((ARROW[0] - SHAPES.loop[0]) * left) / ARROW[1];
      mesh.ring(centre, across, cross(along, across), half * thin, through * thin, first + Math.round(u), s > 0);
    }
    first = last;
  }
  return { ...mesh.done(), balls: balls.map(([i, at]) => ({ at, size: SHAPES.loop[0] * thin * (1 + (kind[i] !== "loop")), owner: i })) };
}

// Side chains as sticks with round ends: [{a, b}] halves of bonds by element.
function sideChains(byResidue, indices, carbon, size) {
  const mesh = makeMesh(7), balls = [], colours = [];
  const elements = { N: "#3050f8", O: "#e0201b", S: "#c9a400" };
  for (const i of indices) {
    const atoms = (byResidue.get(i) || []).filter(([name]) => !["N", "C", "O", "OXT"].includes(name));
    for (const [name, ...at] of atoms) { balls.push({ at, size, owner: colours.length }); colours.push([i, elements[name[0]] || carbon]); }
    const offset = colours.length - atoms.length;
    for (let one = 0; one < atoms.length; one++)
      for (let two = 0; two < atoms.length; two++) {
        const a = atoms[one].slice(1), b = atoms[two].slice(1);
        const far = Math.hypot(...minus(b, a));
        if (one === two || far > 2.0) continue;
        const along = minus(b, a).map((x) => x / far);
        const across = unit(cross(along, Math.abs(along[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0])), through = cross(along, across);
        mesh.ring(a, across, through, size, size, offset + one, false);
        mesh.ring(plus(a, along, far / 2), across, through, size, size, offset + one, true);
      }
  }
  return { ...mesh.done(), balls, colours };
}

const LIGHT = unit([-0.4, 0.55, 0.75]);
const GLOSS = unit([-0.2, 0.28, 0.94]);
const lit = (x, y, z) => {
  const full = LIGHT[0] * x + LIGHT[1] * y + LIGHT[2] * z, gloss = GLOSS[0] * x + GLOSS[1] * y + GLOSS[2] * z;
  let light = full > 0 ? 0.5 + 0.55 * full : 0.5;
  if (gloss > 0.7) { const g2 = gloss * gloss, g4 = g2 * g2, g8 = g4 * g4; light += 0.22 * g8 * g8 * g8; }
  return light;
};

// Pixels with depth: what is nearest to the eye, how it is lit, and to which owner it belongs.
function makeRaster(canvas) {
  const context = canvas.getContext("2d");
  let width = 0, height = 0, image = null, depth = null, light = null, who = null, view = null;
  let seen = new Float32Array(0);
  const place = (p, to) => {
    const x = p[0] - view.centre[0], y = p[1] - view.centre[1], z = p[2] - view.centre[2], m = view.turn;
    to[0] = width / 2 + (m[0] * x + m[1] * y + m[2] * z) * view.scale - 0.5;
    to[1] = height / 2 - (m[3] * x + m[4] * y + m[5] * z) * view.scale - 0.5;
    to[2] = m[6] * x + m[7] * y + m[8] * z;
    return to;
  };

  function start(size, looking) {
    view = looking;
    if (size[0] !== width || size[1] !== height) {
      [width, height] = size;
      canvas.width = width;
      canvas.height = height;
      image = context.createImageData(width, height);
      depth = new Float32Array(width * height);
      light = new Float32Array(width * height);
      who = new Int32Array(width * height);
    }
    depth.fill(-1e9);
  }

  // `lift` moves a surface towards the eye, Å: of two that coincide it is the one seen.
  function fill({ points, normals, faces, owners }, base, lift = 0) {
    const n = points.length / 3, m = view.turn, scale = view.scale, [cx, cy, cz] = view.centre;
    if (seen.length < 4 * n) seen = new Float32Array(4 * n);
    for (let i = 0, p = 0, q = 0; i < n; i++, p += 3, q += 4) {
      const x = points[p] - cx, y = points[p + 1] - cy, z = points[p + 2] - cz;
      seen[q] = width / 2 + (m[0] * x + m[1] * y + m[2] * z) * scale - 0.5;
      seen[q + 1] = height / 2 - (m[3] * x + m[4] * y + m[5] * z) * scale - 0.5;
      seen[q + 2] = m[6] * x + m[7] * y + m[8] * z + lift;
      const a = normals[p], b = normals[p + 1], c = normals[p + 2];
      seen[q + 3] = lit(m[0] * a + m[1] * b + m[2] * c, m[3] * a + m[4] * b + m[5] * c, m[6] * a + m[7] * b + m[8] * c);
    }
    for (let f = 0; f < faces.length; f += 3) {
      const i = 4 * faces[f], j = 4 * faces[f + 1], k = 4 * faces[f + 2];
      const x0 = seen[i], y0 = seen[i + 1], x1 = seen[j], y1 = seen[j + 1], x2 = seen[k], y2 = seen[k + 1];
      const area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
      if (area >= 0) continue; // it looks away
      const left = Math.max(Math.ceil(Math.min(x0, x1, x2)), 0), right = Math.min(Math.floor(Math.max(x0, x1, x2)), width - 1);
      const top = Math.max(Math.ceil(Math.min(y0, y1, y2)), 0), foot = Math.min(Math.floor(Math.max(y0, y1, y2)), height - 1);
      if (left > right || top > foot) continue;
      const owner = base + owners[f / 3];
      const z0 = seen[i + 2], zu = seen[j + 2] - z0, zv = seen[k + 2] - z0;
      const l0 = seen[i + 3], lu = seen[j + 3] - l0, lv = seen[k + 3] - l0;
      const ux = (y2 - y0) / area, uy = (x0 - x2) / area, vx = (y0 - y1) / area, vy = (x1 - x0) / area;
      for (let y = top; y <= foot; y++) {
        let u = ux * (left - x0) + uy * (y - y0), v = vx * (left - x0) + vy * (y - y0);
        for (let x = left, at = y * width + left; x <= right; x++, at++, u += ux, v += vx) {
          if (u < -1e-6 || v < -1e-6 || u + v > 1.000001) continue;
          const z = z0 + u * zu + v * zv;
          if (z <= depth[at]) continue;
          depth[at] = z;
          light[at] = l0 + u * lu + v * lv;
          who[at] = owner;
        }
      }
    }
  }

  function ball({ at: centre, size, owner }, base, lift = 0) {
    const [x0, y0, z0] = place(centre, [0, 0, 0]), r = Math.max(size * view.scale, 1);
    for (let y = Math.max(Math.ceil(y0 - r), 0); y <= Math.min(y0 + r, height - 1); y++)
      for (let x = Math.max(Math.ceil(x0 - r), 0); x <= Math.min(x0 + r, width - 1); x++) {
        const a = (x - x0) / r, b = (y0 - y) / r, rest = 1 - a * a - b * b;
        if (rest < 0) continue;
        const c = Math.sqrt(rest), z = z0 + c * size + lift, at = y * width + x;
        if (z <= depth[at]) continue;
        depth[at] = z;
        light[at] = lit(a, b, c);
        who[at] = base + owner;
      }
  }

  // Colours (red, green, blue, and how much it steps back) of all owners in a row; what is far fades into the paper, and edges stand out in ink.
  function show(colours, paper, ink, reach) {
    const out = image.data, fade = 0.55 / (2 * reach);
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++, at++) {
        const z = depth[at], to = 4 * at;
        if (z < -1e8) { out[to + 3] = 0; continue; }
        const far = z - 1.4; // Å; what lies this far behind a pixel makes an edge of it
        const edge = (x > 0 && depth[at - 1] < far) || (x < width - 1 && depth[at + 1] < far) || (y > 0 && depth[at - width] < far) || (y < height - 1 && depth[at + width] < far) ? 0.4 : 0;
        const c = 4 * who[at], back = colours[c + 3];
        let mist = 0.28 - fade * z;
        mist = mist < back ? back : mist > 0.62 && !back ? 0.62 : mist;
        const shade = light[at], dull = shade < 1 ? shade : 1, bright = shade > 1 ? 255 * (shade - 1) : 0;
        for (let k = 0; k < 3; k++) {
          let value = colours[c + k] * dull + bright;
          value += edge * (ink[k] - value);
          out[to + k] = value + mist * (paper[k] - value);
        }
        out[to + 3] = 255;
      }
    context.putImageData(image, 0, 0);
  }

  // Owner of the pixel nearest to a place (shares of width and height), -1 where nothing is near.
  function owner(right, down, most) {
    const x0 = Math.round(right * width), y0 = Math.round(down * height);
    let best = -1, least = most * most;
    for (let y = Math.max(y0 - most, 0); y <= Math.min(y0 + most, height - 1); y++)
      for (let x = Math.max(x0 - most, 0); x <= Math.min(x0 + most, width - 1); x++) {
        const away = (x - x0) ** 2 + (y - y0) ** 2;
        if (away < least && depth[y * width + x] > -1e8) [best, least] = [who[y * width + x], away];
      }
    return best;
  }
  return { start, fill, ball, show, owner };
}

const rgb = (colour) => {
  const short = colour.length === 4;
  return [0, 1, 2].map((k) => parseInt(short ? colour[k + 1].repeat(2) : colour.slice(2 * k + 1, 2 * k + 3), 16));
};

// What a view consists of: its surfaces, and the colours and residues of their owners.
function makeParts(scene) {
  const atoms = scene.ca.filter(Boolean).length;
  const [steps, sides] = atoms > 1200 ? [3, 6] : atoms > 600 ? [4, 7] : atoms > 250 ? [5, 8] : [6, 10];
  const detail = { steps, sides };
  const wild = ribbon(scene.ca, scene.elements, { ...detail, thin: 0.8 });
  let alone = null, mutant = null, changed = null, parts = [], colours = [], owners = [], table = null;
  return {
    setMutant(next) {
      mutant = next;
      changed = next && next.ca ? ribbon(next.ca, next.elements || scene.elements, detail) : null;
    },
    paint({ wild: colourA, changed: colourB, sites, selected, show }) {
      parts = []; colours = []; owners = [];
      const both = show.wild && colourA && changed && show.mutant && colourB;
      // A selected stretch keeps its colour, the rest steps back; single residues get balls.
      const lit = selected.length > 3 ? new Set(selected) : null;
      const chain = (surface, colour, n, which, lift) => {
        parts.push({ surface, base: owners.length, lift });
        for (let i = 0; i < n; i++) {
          colours.push(...rgb(colour(i)), lit && !lit.has(i) ? 0.72 : 0);
          owners.push([i, which]);
        }
      };
      const extra = (surface, which, lift) => {
        parts.push({ surface, base: owners.length, lift });
        for (const [i, colour] of surface.colours) { colours.push(...rgb(colour), 0); owners.push([i, which]); }
      };
      if (show.wild && colourA) {
        // Where the mutant is shown as well, the wild type is the thinner of the two.
        alone = both ? alone : alone || ribbon(scene.ca, scene.elements, detail);
        chain(both ? wild : alone, colourA, scene.ca.length, "wild", 0);
      }
      if (show.mutant && changed && colourB) chain(changed, colourB, mutant.ca.length, "mutant", 0.1);
      const marked = [...new Set([...sites, ...selected])];
      if (marked.length < 60) {
        if (show.wild && colourA) extra(sideChains(scene.wild, marked, "#8d99a5", 0.2), "wild", 0.1);
        if (show.mutant && changed && colourB)
          for (const [which, carbon] of [[marked.filter((i) => !sites.includes(i)), "#73808c"], [sites, css("--site")]])
            extra(sideChains(mutant.byResidue, which, carbon, 0.24), "mutant", 0.2);
      }
      const balls = [...sites.map((i) => [i, css("--site"), 0.95]), ...(lit ? [] : selected.map((i) => [i, css("--ink"), 0.8]))]
        .map(([i, colour, size]) => [(show.mutant && changed && sites.includes(i) && mutant.ca[i]) || scene.ca[i], i, colour, size]).filter(([at]) => at);
      extra({ balls: balls.map(([at, , , size], owner) => ({ at, size, owner })), colours: balls.map(([, i, colour]) => [i, colour]) }, "wild", 0.3);
      table = Float32Array.from(colours);
    },
    draw(raster, size, view) {
      raster.start(size, view);
      for (const { surface, base, lift } of parts) {
        if (surface.faces) raster.fill(surface, base, lift);
        for (const one of surface.balls) raster.ball(one, base, lift);
      }
      raster.show(table, rgb(css("--panel")), rgb(css("--ink")), scene.radius);
    },
    owner: (number) => owners[number],
  };
}

function makeTrace(host, scene) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  host.append(canvas);
  const raster = makeRaster(canvas), parts = makeParts(scene);
  let turn = scene.turn.slice();
  let zoom = 1;
  let centre = [0, 0, 0];
  let state = { wild: null, changed: null, sites: [], selected: [], show: { wild: true, mutant: true } };
  let listener = () => {};
  let waiting = false, stale = true, moving = false, rest = null, drawn = 0;
  // Pixels drawn for each pixel of the page: two and more are smooth; in motion as many as are fast enough.
  let density = 2;
  const radius = scene.radius;

  function draw() {
    waiting = false;
    const width = host.clientWidth, height = host.clientHeight;
    if (!width || !height) return;
    const begun = performance.now();
    if (stale) parts.paint(state);
    stale = false;
    const finest = Math.max(window.devicePixelRatio || 1, 2), dense = moving ? Math.min(density, finest) : finest;
    const size = [width, height].map((v) => Math.round(v * dense));
    parts.draw(raster, size, { turn, centre, scale: 0.47 * zoom * Math.min(size[0] / scene.spread[0], size[1] / scene.spread[1]) });
    const spent = performance.now() - begun;
    if (moving) density = clamp(density * (spent > 16 ? 0.85 : spent < 9 ? 1.1 : 1), 0.7, finest);
    host.dataset.view = JSON.stringify([...centre, zoom, ...turn].map((v) => Number(v.toFixed(3))));
    host.dataset.drawn = ++drawn;
  }
  function redraw() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }
  function move() {
    moving = true;
    clearTimeout(rest);
    rest = setTimeout(() => { moving = false; redraw(); }, 150);
    redraw();
  }

  function spin(dx, dy) {
    const [cx, sx, cy, sy] = [Math.cos(dy), Math.sin(dy), Math.cos(dx), Math.sin(dx)];
    const step = [cy, 0, sy, sx * sy, cx, -sx * cy, -cx * sy, sx, cx * cy];
    const next = [];
    for (let r = 0; r < 3; r++)
      for (let c = 0; c < 3; c++)
        next.push(step[3 * r] * turn[c] + step[3 * r + 1] * turn[3 + c] + step[3 * r + 2] * turn[6 + c]);
    turn = next;
    move();
  }

  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, moved: 0 };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const dx = event.clientX - held.x, dy = event.clientY - held.y;
    held = { x: event.clientX, y: event.clientY, moved: held.moved + Math.abs(dx) + Math.abs(dy) };
    if (dx || dy) spin(dx / 120, dy / 120);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && held.moved < 4) {
      const box = canvas.getBoundingClientRect();
      const found = raster.owner((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, 12);
      if (found >= 0) listener(...parts.owner(found));
    }
    held = null;
  });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== host && !event.ctrlKey) return;
    event.preventDefault();
    zoom = clamp(zoom * Math.exp(-event.deltaY / 500), 0.3, 12);
    move();
  }, { passive: false });

  const repaint = () => { stale = true; redraw(); };
  return {
    engine: "canvas",
    setMutant: (mutant) => { parts.setMutant(mutant); repaint(); },
    paint: (changes) => { state = { ...state, ...changes }; repaint(); },
    focus: (indices) => {
      const points = indices.map((i) => scene.ca[i]).filter(Boolean);
      if (!points.length) { centre = [0, 0, 0]; zoom = 1; }
      else {
        centre = [0, 1, 2].map((k) => mean(points.map((p) => p[k])));
        const reach = Math.max(...points.map((p) => Math.hypot(...minus(p, centre))), 9);
        zoom = clamp(radius / (1.4 * reach), 1, 6);
      }
      redraw();
    },
    rotate: (dx, dy) => spin((dx * Math.PI) / 180, (dy * Math.PI) / 180),
    zoom: (factor) => { zoom = clamp(zoom * factor, 0.3, 12); move(); },
    onPick: (call) => { listener = call; },
    resize: redraw,
  };
}
