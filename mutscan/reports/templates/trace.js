// A rotatable C-alpha trace on a canvas: what is shown where 3Dmol.js or WebGL cannot be had.

function makeTrace(host, scene) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  host.append(canvas);
  const context = canvas.getContext("2d");
  let turn = scene.turn.slice();
  let zoom = 1;
  let centre = [0, 0, 0];
  let mutant = null;
  let state = { wild: null, changed: null, sites: [], selected: [], show: { wild: true, mutant: true } };
  let listener = () => {};
  let waiting = false;
  const radius = scene.radius;

  const rotate = (p) => {
    const x = p[0] - centre[0], y = p[1] - centre[1], z = p[2] - centre[2];
    return [
      turn[0] * x + turn[1] * y + turn[2] * z,
      turn[3] * x + turn[4] * y + turn[5] * z,
      turn[6] * x + turn[7] * y + turn[8] * z,
    ];
  };

  function draw() {
    waiting = false;
    const ratio = window.devicePixelRatio || 1;
    const width = host.clientWidth, height = host.clientHeight;
    if (!width || !height) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = (0.46 * Math.min(width, height) * zoom) / radius;
    const at = (p) => {
      const [x, y, z] = rotate(p);
      return [width / 2 + x * scale, height / 2 - y * scale, z];
    };
    const pieces = [];
    const chain = (ca, colour, thick) => {
      for (let i = 0; i + 1 < L; i++) {
        const a = ca[i], b = ca[i + 1];
        if (!a || !b || Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) > 4.5) continue;
        const p = at(a), q = at(b);
        pieces.push({ z: (p[2] + q[2]) / 2, p, q, colour: colour(i), thick });
      }
    };
    const thick = clamp(scale * 0.8, 2.5, 9);
    if (state.show.wild && state.wild) chain(scene.ca, state.wild, thick);
    if (state.show.mutant && mutant && state.changed) chain(mutant, state.changed, thick);
    for (const i of state.sites) if (scene.ca[i]) pieces.push({ z: at(scene.ca[i])[2] + 1, ball: at(scene.ca[i]), size: 7, colour: css("--site") });
    for (const i of state.selected) if (scene.ca[i]) pieces.push({ z: at(scene.ca[i])[2] + 1, ball: at(scene.ca[i]), size: 5, colour: css("--ink") });
    pieces.sort((a, b) => a.z - b.z);
    const paper = css("--panel");
    for (const piece of pieces) {
      // Far pieces fade a little: depth without perspective.
      context.globalAlpha = clamp(0.72 + (0.28 * piece.z) / radius, 0.4, 1);
      if (piece.ball) {
        context.fillStyle = piece.colour;
        context.beginPath();
        context.arc(piece.ball[0], piece.ball[1], piece.size, 0, 2 * Math.PI);
        context.fill();
        continue;
      }
      // A rim in the colour of the paper parts what lies before from what lies behind.
      // It stops short of the ends, or it would cut the chain at each residue.
      const [dx, dy] = [0, 1].map((k) => 0.25 * (piece.q[k] - piece.p[k]));
      for (const [colour, thick, cap, cut] of [[paper, piece.thick * 1.7, "butt", 1], [piece.colour, piece.thick, "round", 0]]) {
        context.lineCap = cap;
        context.strokeStyle = colour;
        context.lineWidth = thick;
        context.beginPath();
        context.moveTo(piece.p[0] + cut * dx, piece.p[1] + cut * dy);
        context.lineTo(piece.q[0] - cut * dx, piece.q[1] - cut * dy);
        context.stroke();
      }
    }
    context.globalAlpha = 1;
    host.dataset.view = JSON.stringify([...centre, zoom, ...turn].map((v) => Number(v.toFixed(3))));
    scene.project = at;
  }
  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };

  function spin(dx, dy) {
    const [cx, sx, cy, sy] = [Math.cos(dy), Math.sin(dy), Math.cos(dx), Math.sin(dx)];
    const step = [cy, 0, sy, sx * sy, cx, -sx * cy, -cx * sy, sx, cx * cy];
    const next = [];
    for (let r = 0; r < 3; r++)
      for (let c = 0; c < 3; c++)
        next.push(step[3 * r] * turn[c] + step[3 * r + 1] * turn[3 + c] + step[3 * r + 2] * turn[6 + c]);
    turn = next;
    redraw();
  }

  function nearest(x, y) {
    let best = -1, least = 14 * 14;
    for (let i = 0; i < L; i++) {
      if (!scene.ca[i] || !scene.project) continue;
      const p = scene.project(scene.ca[i]);
      const away = (p[0] - x) ** 2 + (p[1] - y) ** 2 - p[2];
      if (away < least) [best, least] = [i, away];
    }
    return best;
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
    spin(dx / 120, dy / 120);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && held.moved < 4) {
      const box = canvas.getBoundingClientRect();
      const found = nearest(event.clientX - box.left, event.clientY - box.top);
      if (found >= 0) listener(found);
    }
    held = null;
  });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== host && !event.ctrlKey) return;
    event.preventDefault();
    zoom = clamp(zoom * Math.exp(-event.deltaY / 500), 0.3, 12);
    redraw();
  }, { passive: false });

  return {
    engine: "canvas",
    setMutant: (ca) => { mutant = ca.ca; redraw(); },
    paint: (changes) => { state = { ...state, ...changes }; redraw(); },
    focus: (indices) => {
      const points = indices.map((i) => scene.ca[i]).filter(Boolean);
      if (!points.length) { centre = [0, 0, 0]; zoom = 1; }
      else {
        centre = [0, 1, 2].map((k) => mean(points.map((p) => p[k])));
        const reach = Math.max(...points.map((p) => Math.hypot(...[0, 1, 2].map((k) => p[k] - centre[k]))), 9);
        zoom = clamp(radius / (1.4 * reach), 1, 6);
      }
      redraw();
    },
    rotate: (dx, dy) => spin((dx * Math.PI) / 180, (dy * Math.PI) / 180),
    zoom: (factor) => { zoom = clamp(zoom * factor, 0.3, 12); redraw(); },
    onPick: (call) => { listener = call; },
    resize: redraw,
  };
}
