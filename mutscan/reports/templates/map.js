// The map under the headline: variants, the regions they disturb, domains and sites, each in a lane of its own.

const DOT = 11; // px from one dot to the next

// Dots that would lie on each other are set side by side, the highest in the middle.
function spreadDots(dots, width) {
  const crowded = dots.length > 200; // then only dots of one position make room
  const placed = [];
  for (const dot of [...dots].sort((a, b) => a.y - b.y)) {
    const rivals = placed.filter((other) => Math.abs(other.y - dot.y) < DOT && (!crowded || other.at === dot.at));
    const free = (x) => x > DOT / 2 && x < width - DOT / 2 && rivals.every((other) => Math.hypot(other.x - x, other.y - dot.y) >= DOT);
    const tries = Array.from({ length: 25 }, (_, k) => dot.at + Math.ceil(k / 2) * DOT * (k % 2 ? 1 : -1));
    placed.push(Object.assign(dot, { x: tries.find(free) ?? dot.at }));
  }
  return placed;
}

// A name beside each dot where there is room for it; the first ones of the list have the choice.
function placeNames(dots, width, top, bottom) {
  const taken = dots.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
  const names = [];
  for (const dot of dots) {
    const text = dot.variant.name.length > 14 ? dot.variant.name.slice(0, 13) + "…" : dot.variant.name;
    const w = textWidth(text, 600) + 2;
    const starts = [[dot.x - w / 2, dot.y - 19], [dot.x + 8, dot.y - 6], [dot.x - 8 - w, dot.y - 6], [dot.x + 5, dot.y - 18], [dot.x - 5 - w, dot.y - 18]];
    const boxes = starts.map(([x, y]) => [clamp(x, 1, width - w - 1), y, clamp(x, 1, width - w - 1) + w, y + 12]);
    const box = boxes.find(([x0, y0, x1, y1]) => y0 >= top && y1 <= bottom && taken.every(([a, b, c, d]) => x1 <= a || x0 >= c || y1 <= b || y0 >= d));
    if (!box || names.some((name) => name.variant === dot.variant)) continue;
    taken.push(box);
    names.push({ variant: dot.variant, text, x: box[0] + w / 2, y: box[1] + 10 });
  }
  return names;
}

// How many variants disturb each region, packed into rows; the regions of most variants come first.
function disturbedLane(variants) {
  const found = new Map();
  for (const variant of variants)
    for (const region of variant.regions.filter((one) => one.disturbed)) {
      const key = JSON.stringify([region.name, region.stretches]);
      if (!found.has(key)) found.set(key, { ...region, by: [] });
      found.get(key).by.push(variant.name);
    }
  const rows = [];
  let left = 0;
  const reach = ({ stretches }) => [Math.min(...stretches.map(([a]) => a)), Math.max(...stretches.map(([, b]) => b))];
  for (const region of [...found.values()].sort((a, b) => b.by.length - a.by.length)) {
    const [first, last] = reach(region);
    let row = rows.find((taken) => taken.every((other) => last < reach(other)[0] || first > reach(other)[1]));
    if (!row && rows.length < 5) rows.push(row = []);
    if (row) row.push(region);
    else left += 1;
  }
  const most = Math.max(...[...found.values()].map(({ by }) => by.length), 1);
  return {
    title: found.size ? "Regions beyond background" : "Regions beyond background: none",
    legend: found.size ? `number of variants that disturb each${left ? `; ${left} more regions not drawn` : ""}` : "",
    height: Math.max(17 * rows.length - 3, 0),
    draw: ({ front, edge, top }) => rows.forEach((row, k) => {
      for (const region of row) {
        const group = svg("g", { class: "hit" }), y = top + 17 * k;
        for (const [a, b] of region.stretches)
          group.append(svg("rect", { x: edge(a - 1), y, width: Math.max(edge(b) - edge(a - 1), 2), height: 14, rx: 2, "fill-opacity": 0.2 + (0.5 * region.by.length) / most }));
        const [from, to] = reach(region);
        const room = edge(to) - edge(from - 1) - 6, count = String(region.by.length);
        const text = [`${region.name}: ${count}`, count].find((words) => textWidth(words) <= room);
        const title = svg("title");
        title.textContent = `${region.name}, ${region.stretches.map((s) => s.join("–")).join(", ")}: disturbed by ${region.by.slice(0, 20).join(", ")}${region.by.length > 20 ? " …" : ""}`;
        group.append(title);
        if (text) {
          const label = svg("text", { x: edge(from - 1) + 3, y: y + 11, class: "domain-name" });
          label.textContent = text;
          group.append(label);
        }
        front.append(group);
      }
    }),
  };
}

function drawMap(host, variants, open) {
  const probability = variants.some((variant) => known(variant.numbers.p_deleterious));
  const height = ({ flag, numbers: { p_deleterious: p, z_score: z } }) => {
    const value = probability ? p : known(z) ? clamp(-z / 6, 0, 1) : null;
    return flag !== "not assessed" && known(value) ? value : null;
  };
  const assessed = variants.filter((variant) => height(variant) !== null);
  const others = variants.filter((variant) => height(variant) === null && variant.sites.length);
  const full = 110, above = 22, below = others.length ? 18 : 4;

  const stems = {
    title: probability ? "Probability of being deleterious" : "Drop z against other substitutions (positive: worse)",
    height: above + full + below,
    draw: ({ front, back, x, top, width }) => {
      const y = (share) => top + above + full * (1 - share);
      for (const share of [0, 0.5, 1]) {
        back.append(svg("path", { d: `M${TRACK.left} ${y(share)}H${width - TRACK.right}`, class: "grid" }));
        back.append(tick(width, y(share), probability ? share : (6 * share).toFixed(0)));
      }
      const inner = width - TRACK.right + 4;
      const dots = spreadDots(assessed.flatMap((variant) => variant.sites.map((site) => ({ variant, at: x(site - 1), y: y(height(variant)) }))), inner);
      const low = spreadDots(others.map((variant) => ({ variant, at: x(mean(variant.sites) - 1), y: y(0) + 12 })), inner);
      const groups = new Map(variants.map((variant) => {
        const group = svg("g", { class: `stem ${variant.flag.replace(" ", "-") || "none"}`, "data-map": variant.name });
        const title = svg("title");
        title.textContent = `${variant.name}: ${variant.sentence}`;
        group.append(title);
        group.addEventListener("click", () => open(variant.name));
        return [variant, group];
      }));
      // Stems lie behind all dots, the lowest dots behind higher ones.
      for (const dot of dots) back.append(svg("path", { d: `M${dot.at} ${y(0)}L${dot.x} ${dot.y}`, class: "stalk" }));
      for (const dot of [...dots].reverse()) groups.get(dot.variant).append(svg("circle", { cx: dot.x, cy: dot.y, r: 5 }));
      for (const dot of low) groups.get(dot.variant).append(svg("path", { d: `M${dot.x - 4} ${dot.y - 4}h8v8h-8z`, class: "unassessed" }));
      for (const name of placeNames([...dots, ...low], inner, top, y(0) + below)) {
        const label = svg("text", { x: name.x, y: name.y, class: "stem-name", "text-anchor": "middle" });
        label.textContent = name.text;
        groups.get(name.variant).append(label);
      }
      front.append(...[...groups.values()].reverse());
    },
  };
  const places = page.places || { domains: [], sites: [] };
  const lanes = [stems, disturbedLane(variants), ...domainLanes(places.domains), ...siteLane(places.sites)];
  const seen = new Set(assessed.map((variant) => variant.flag));
  const keys = [["deleterious", "likely deleterious"], ["uncertain", "uncertain"], ["tolerated", "likely tolerated"]].filter(([flag]) => seen.has(flag));
  if (others.length) keys.push(["not-assessed", "not assessed (drawn below the axis)"]);
  const drawing = el("div");
  host.replaceChildren(drawing, el("ul", { class: "keys legend" }, ...keys.map(([flag, words]) => el("li", {}, el("i", { class: `key ${flag}` }), words))));
  const redraw = () => drawLanes(drawing, lanes, { range: [0, L - 1] });
  new ResizeObserver(redraw).observe(drawing);
  redraw();
  return redraw;
}
