// What the page was given: one JSON object, and one block of arrays (gzip, base64).

const page = JSON.parse(document.getElementById("data").textContent);
const arrays = {};

const UNKNOWN = { u1: 255, u2: 65535, i1: -128, i2: -32768 };
const TYPES = { u1: Uint8Array, u2: Uint16Array, i1: Int8Array, i2: Int16Array, f4: Float32Array };

async function unpack() {
  const coded = document.getElementById("block").textContent.trim();
  const bytes = Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  for (const [name, about] of Object.entries(page.arrays)) {
    const raw = new TYPES[about.type](buffer, about.at, about.n);
    arrays[name] = { raw, ...about };
  }
}

// Part of an array as numbers; NaN where not known.
function numbers(name, start = 0, count = undefined) {
  const array = arrays[name];
  if (!array) return null;
  const end = count === undefined ? array.n : start + count;
  const values = new Float32Array(end - start);
  for (let i = start; i < end; i++) {
    const raw = array.raw[i];
    values[i - start] =
      array.type !== "f4" && raw === UNKNOWN[array.type] ? NaN : raw * array.step + array.low;
  }
  return values;
}

const L = page.sequence.length;

// Each region is named once; a variant points at it. None is disturbed where the structure was not assessed.
for (const variant of page.kind === "score" ? page.variants : [])
  variant.regions = variant.regions.map(([place, drop, z, measured, distance, disturbed]) => ({ ...page.regions[place], drop, z, measured, distance, disturbed: Boolean(disturbed) && variant.structure[0] !== "not assessed" }));

// Small helpers ------------------------------------------------------------------------------

// The name of SVG is asked of the browser, so that no address stands in the page.
const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const fixed = (value, decimals = 3) => (known(value) ? value.toFixed(decimals).replace(/^-(?=[0.]*$)/, "").replace("-", "−") : "—");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const mean = (values) => {
  let sum = 0, count = 0;
  for (const value of values) if (Number.isFinite(value)) { sum += value; count += 1; }
  return count ? sum / count : NaN;
};

// "H97", with the structure file's own number where that is another one.
function residueName(index) {
  const own = page.numbers && page.numbers[index];
  return page.sequence[index] + (index + 1) + (own && own !== String(index + 1) ? ` (${own} in the file)` : "");
}

function spans(indices) {
  const sorted = [...indices].sort((a, b) => a - b);
  const runs = [];
  for (const index of sorted) {
    const last = runs[runs.length - 1];
    if (last && index <= last[1] + 1) last[1] = index;
    else runs.push([index, index]);
  }
  return runs;
}

const spanText = (runs) => runs.map(([a, b]) => (a === b ? `${a + 1}` : `${a + 1}–${b + 1}`)).join(", ");

// Colours --------------------------------------------------------------------------------------

const OKABE_ITO = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"];
const PALE = "#b8c0c8";
const WILD = "#7fa8c9";

function ramp(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return (share) => {
    const place = clamp(share, 0, 1) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    return rgb[low].map((value, i) => Math.round(value + (rgb[low + 1][i] - value) * (place - low)));
  };
}
const hex = (rgb) => "#" + rgb.map((value) => value.toString(16).padStart(2, "0")).join("");

// cividis (Nuñez et al. 2018), nine of its steps.
const cividis = ramp([
  "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838",
]);
const loss = ramp(["#c3cad1", "#e9b44c", "#e07b1a", "#b8430b", "#7d1d06"]);
const gainLoss = ramp(["#00568a", "#5ba7d6", "#e9ecef", "#eda566", "#b8430b"]);

const PLDDT = [[90, "#0053D6", "very high, 90 or more"], [70, "#65CBF3", "confident, 70 to 90"],
  [50, "#FFDB13", "low, 50 to 70"], [-1, "#FF7D45", "very low, below 50"]];
const plddtColour = (value) =>
  Number.isFinite(value) ? PLDDT.find(([least]) => value >= least)[1] : PALE;

// The domain of each residue: the first database in the list that knows any.
const domainOf = new Int16Array(L).fill(-1);
const domains = [];
{
  const all = (page.places && page.places.domains) || [];
  const first = all.length ? all[0].source : "";
  for (const domain of all.filter((one) => one.source === first)) {
    const number = domains.push(domain) - 1;
    for (const [start, end] of domain.stretches)
      for (let i = start - 1; i < end; i++) if (domainOf[i] < 0) domainOf[i] = number;
  }
}
const domainColour = (index) =>
  domainOf[index] < 0 ? PALE : OKABE_ITO[domainOf[index] % OKABE_ITO.length];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
