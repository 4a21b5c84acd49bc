// The track along the sequence: profiles with their background, confidence, domains, sites, the change.

const TRACK = { left: 8, right: 40 };

const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text, weight = 400) {
  ruler.font = `${weight} 11px system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif`;
  return ruler.measureText(text).width;
}

// A text that fits into so many px; empty where not even a few letters do.
function fitted(text, room) {
  if (textWidth(text) <= room) return text;
  let letters = Math.min(text.length, Math.floor(room / 4));
  while (letters > 3 && textWidth(text.slice(0, letters - 1) + "…") > room) letters -= 1;
  return letters > 3 ? text.slice(0, letters - 1) + "…" : "";
}

// The number at a grid line, beside the drawing: nothing is drawn over it.
function tick(width, y, value) {
  const label = svg("text", { x: width - TRACK.right + 5, y: y + 4, class: "tick" });
  label.textContent = value;
  return label;
}

// Where an axis starts that ends at 1: the round number below the lowest value, and below most of the band.
function axisLow(values, band) {
  const edges = band ? band.map(([low]) => low).filter(Number.isFinite).sort((a, b) => a - b) : [];
  const least = values.reduce((low, value) => (value < low ? value : low), edges.length ? edges[edges.length >> 1] : 1);
  const span = Math.max(1 - least, 0.001);
  const power = 10 ** Math.floor(Math.log10(span));
  return Math.max(1 - [1, 2, 5, 10].map((f) => f * power).find((step) => step >= 0.9999 * span), 0);
}

function roundStep(span, parts) {
  const rough = Math.max(span / parts, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((f) => f * power).find((step) => step >= rough);
}

// One lane above the other; each draws itself between `top` and `top + height`.
function drawLanes(host, lanes, options) {
  const width = Math.max(host.clientWidth, 240);
  const [first, last] = options.range;
  const inner = width - TRACK.left - TRACK.right;
  const x = (index) => TRACK.left + ((index - first + 0.5) / (last - first + 1)) * inner;
  const edge = (index) => TRACK.left + ((index - first) / (last - first + 1)) * inner;
  let top = 4;
  const image = svg("svg", { width, role: "presentation" });
  const back = svg("g"), front = svg("g");
  image.append(back, front);
  for (const lane of lanes) {
    const title = svg("text", { x: TRACK.left, y: top + 11, class: "lane-title" });
    title.textContent = lane.title;
    front.append(title);
    if (lane.legend) {
      const legend = svg("text", { x: width - TRACK.right, y: top + 11, class: "lane-note", "text-anchor": "end" });
      legend.textContent = width > 560 ? lane.legend : "";
      front.append(legend);
    }
    top += 17;
    lane.draw({ back, front, x, edge, top, height: lane.height, width, first, last, inner });
    top += lane.height + 11;
  }
  const step = roundStep(last - first + 1, width > 700 ? 12 : 6);
  for (let p = Math.ceil((first + 1) / step) * step; p <= last + 1; p += step) {
    const label = svg("text", { x: x(p - 1), y: top + 12, class: "tick", "text-anchor": "middle" });
    label.textContent = p;
    front.append(label, svg("path", { d: `M${x(p - 1)} ${top - 4}v4`, class: "axis" }));
  }
  top += 18;
  // What runs through all lanes lies behind them.
  for (const [start, end] of options.shaded || [])
    if (end >= first && start <= last)
      back.prepend(svg("rect", { x: edge(Math.max(start, first)), y: 0, width: Math.max(edge(Math.min(end, last) + 1) - edge(Math.max(start, first)), 1.5), height: top - 18, class: "affected" }));
  for (const site of options.sites || [])
    if (site >= first && site <= last)
      front.append(svg("path", { d: `M${x(site)} 4V${top - 18}`, class: "site-line" }), svg("path", { d: `M${x(site) - 5} 0h10l-5 7z`, class: "site-mark" }));
  const selection = svg("g");
  front.append(selection);
  image.setAttribute("height", top);
  image.setAttribute("viewBox", `0 0 ${width} ${top}`);
  host.replaceChildren(image);
  return {
    indexAt: (clientX) => {
      const place = clientX - image.getBoundingClientRect().left - TRACK.left;
      return clamp(first + Math.floor((place / inner) * (last - first + 1)), first, last);
    },
    mark: (runs, cursor) => {
      selection.replaceChildren();
      for (const [start, end] of runs)
        if (end >= first && start <= last)
          selection.append(svg("rect", { x: edge(Math.max(start, first)), y: 0, width: Math.max(edge(Math.min(end, last) + 1) - edge(Math.max(start, first)), 2), height: top - 18, class: "chosen" }));
      if (cursor !== null && cursor >= first && cursor <= last)
        selection.append(svg("path", { d: `M${x(cursor)} 0V${top - 18}`, class: "cursor" }));
    },
  };
}

function profileLane({ title, legend, values, kind, band, height = 86 }) {
  const low = axisLow(values, band);
  return {
    title, legend, height,
    draw: ({ back, front, x, top, height, width, first, last }) => {
      const y = (value) => top + height * (1 - (clamp(value, low, 1) - low) / (1 - low));
      for (const value of [1, (1 + low) / 2, low]) {
        back.append(svg("path", { d: `M${TRACK.left} ${y(value)}H${width - TRACK.right}`, class: "grid" }));
        back.append(tick(width, y(value), Number(value.toFixed(4))));
      }
      if (band) {
        const upper = [], lower = [];
        for (let i = first; i <= last; i++) {
          if (!Number.isFinite(band[i][0])) continue;
          upper.push(`${x(i).toFixed(1)} ${y(band[i][1]).toFixed(1)}`);
          lower.unshift(`${x(i).toFixed(1)} ${y(band[i][0]).toFixed(1)}`);
        }
        if (upper.length) back.append(svg("path", { d: `M${upper.concat(lower).join("L")}Z`, class: "null" }));
      }
      let d = "", down = false;
      for (let i = first; i <= last; i++) {
        if (!Number.isFinite(values[i])) { down = false; continue; }
        d += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(values[i]).toFixed(1)}${down ? "" : "h0"}`;
        down = true;
      }
      front.append(svg("path", { d, class: `profile ${kind}` }));
    },
  };
}

function stripLane({ title, legend, colour, height = 9 }) {
  return {
    title, legend, height,
    draw: ({ front, edge, top, height, first, last }) => {
      // Neighbours of one colour are one rectangle.
      for (let i = first; i <= last; ) {
        let end = i;
        const shade = colour(i);
        while (end < last && colour(end + 1) === shade) end += 1;
        front.append(svg("rect", { x: edge(i), y: top, width: edge(end + 1) - edge(i) + 0.3, height, fill: shade }));
        i = end + 1;
      }
    },
  };
}

function elementLane(elements) {
  return {
    title: "Helices and strands", legend: "from the structure's Cα trace", height: 12,
    draw: ({ front, edge, top, height, width, first, last }) => {
      front.append(svg("path", { d: `M${TRACK.left} ${top + height / 2}H${width - TRACK.right}`, class: "grid" }));
      for (const { kind, number, start, end } of elements) {
        if (end - 1 < first || start - 1 > last) continue;
        const a = edge(Math.max(start - 1, first)), b = edge(Math.min(end - 1, last) + 1), m = top + height / 2;
        const head = Math.min(7, b - a);
        const shape = kind === "helix"
          ? svg("rect", { x: a, y: top + 1, width: b - a, height: height - 2, rx: 5, class: "helix" })
          : svg("path", { d: `M${a} ${m - 3}H${b - head}V${top}L${b} ${m}L${b - head} ${top + height}V${m + 3}H${a}Z`, class: "strand" });
        shape.append(svg("title"));
        shape.firstChild.textContent = `${kind} ${number}, ${start}–${end}`;
        front.append(shape);
      }
    },
  };
}

function domainLanes(places) {
  const count = Math.max(0, ...places.map((place) => place.lane + 1));
  if (!count) return [];
  const sources = [...new Set(places.map((place) => place.source))].join(", ");
  return [{
    title: "Domains and regions", legend: `from ${sources}`, height: 17 * count - 3,
    draw: ({ front, edge, top, first, last }) => {
      for (const place of places) {
        const y = top + 17 * place.lane;
        const number = domains.indexOf(place);
        const whole = [Math.min(...place.stretches.map((s) => s[0])), Math.max(...place.stretches.map((s) => s[1]))];
        if (whole[1] - 1 < first || whole[0] - 1 > last) continue;
        const from = edge(Math.max(whole[0] - 1, first)), to = edge(Math.min(whole[1] - 1, last) + 1);
        const group = svg("g", { class: "domain" });
        const inOrder = [...place.stretches].sort((one, two) => one[0] - two[0]);
        for (let k = 1; k < inOrder.length; k++) {  // gaps only: a line through the name would strike it out
          const a = clamp(edge(inOrder[k - 1][1]), from, to), b = clamp(edge(inOrder[k][0] - 1), from, to);
          if (b > a) group.append(svg("path", { d: `M${a} ${y + 7}H${b}`, class: "axis" }));
        }
        for (const [start, end] of place.stretches) {
          if (end - 1 < first || start - 1 > last) continue;
          const a = edge(Math.max(start - 1, first)), b = edge(Math.min(end - 1, last) + 1);
          group.append(svg("rect", { x: a, y, width: Math.max(b - a, 1.5), height: 14, rx: 2, fill: number < 0 ? "var(--quiet)" : OKABE_ITO[number % OKABE_ITO.length], "fill-opacity": number < 0 ? 1 : 0.32 }));
        }
        const label = svg("text", { x: from + 4, y: y + 11, class: "domain-name" });
        label.textContent = fitted(place.name, to - from - 8);
        group.append(label);
        const title = svg("title");
        title.textContent = `${place.name} (${place.source}), ${place.stretches.map((s) => s.join("–")).join(", ")}`;
        group.append(title);
        front.append(group);
      }
    },
  }];
}

function siteLane(sites) {
  if (!sites.length) return [];
  return [{
    title: "Sites", legend: "active, binding and other single residues", height: 10,
    draw: ({ front, x, edge, top, first, last }) => {
      for (const { name, start, end, source } of sites) {
        if (end - 1 < first || start - 1 > last) continue;
        const title = svg("title");
        title.textContent = `${name} ${start === end ? start : `${start}–${end}`} (${source})`;
        const bond = name.startsWith("Disulfide");
        if (bond || end - start < 3) {
          const ends = bond ? [start, end] : [start];
          if (bond && start !== end) front.append(svg("path", { d: `M${x(start - 1)} ${top + 5}H${x(end - 1)}`, class: "axis" }));
          for (const p of ends) {
            const mark = svg("path", { d: `M${x(p - 1)} ${top}l4 5l-4 5l-4 -5z`, class: "place" });
            mark.append(title.cloneNode(true));
            front.append(mark);
          }
        } else {
          const bar = svg("rect", { x: edge(start - 1), y: top + 2, width: edge(end) - edge(start - 1), height: 6, class: "place" });
          bar.append(title);
          front.append(bar);
        }
      }
    },
  }];
}

// A track that can be pointed at, walked along with the arrow keys, and dragged over.
function makeTrack(host, readout, { lanes, describe, onSelect, sites, shaded }) {
  let range = [0, L - 1], cursor = null, chosen = [], drawn = null, from = null;
  host.tabIndex = 0;
  host.setAttribute("role", "slider");
  host.setAttribute("aria-label", "Position along the protein; arrow keys move, Enter selects");
  host.setAttribute("aria-valuemin", 1);
  host.setAttribute("aria-valuemax", L);

  const runs = () => spans(chosen);
  const redraw = () => {
    drawn = drawLanes(host, lanes(), { range, sites: sites(), shaded: shaded() });
    drawn.mark(runs(), cursor);
  };
  function point(index) {
    cursor = index;
    host.setAttribute("aria-valuenow", index + 1);
    const words = describe(index);
    host.setAttribute("aria-valuetext", words);
    readout.textContent = words;
    drawn.mark(runs(), cursor);
  }
  function select(indices, quietly) {
    chosen = indices;
    drawn.mark(runs(), cursor);
    host.dataset.selected = spanText(runs());
    if (!quietly) onSelect(indices);
  }
  const between = (a, b) => Array.from({ length: Math.abs(b - a) + 1 }, (_, i) => Math.min(a, b) + i);

  host.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = drawn.indexAt(event.clientX);
  });
  host.addEventListener("pointermove", (event) => {
    const index = drawn.indexAt(event.clientX);
    point(index);
    if (from !== null && event.buttons) { chosen = between(from, index); drawn.mark(runs(), cursor); }
  });
  host.addEventListener("pointerup", (event) => {
    if (from === null) return;
    select(between(from, drawn.indexAt(event.clientX)));
    from = null;
  });
  host.addEventListener("pointercancel", () => { from = null; });
  host.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (step !== undefined) {
      const next = clamp((cursor ?? range[0] - step) + step, 0, L - 1);
      if (event.shiftKey) select([...new Set([...chosen, cursor ?? next, next])]);
      point(next);
    } else if (event.key === "Home") point(range[0]);
    else if (event.key === "End") point(range[1]);
    else if ((event.key === "Enter" || event.key === " ") && cursor !== null) select([cursor]);
    else if (event.key === "Escape") select([]);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => redraw()).observe(host);
  redraw();
  return {
    redraw,
    select: (indices) => { select(indices, true); if (indices.length) point(indices[0]); },
    zoom: (to) => { range = to; redraw(); },
    whole: () => range[0] === 0 && range[1] === L - 1,
    chosen: () => chosen,
  };
}
