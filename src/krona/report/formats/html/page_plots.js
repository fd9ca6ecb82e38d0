// Plots, as SVG made here: points with intervals, and curves with a band from the lowest to the highest seed.
const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 460, height: 280, left: 60, right: 20, top: 12, bottom: 44 };
const MARKS = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-3.6,-3.6h7.2v7.2h-7.2z", "M0,-4.6L4.4,3.4H-4.4z", "M0,-5L5,0L0,5L-5,0z"];
const SCORES = ["task", "beside", "average"]; // kinds of columns

// A look is the slot of a method in the palette, or [slot, which of the method's rows, how many]: shades of one colour.
const lookOf = (look) => (Array.isArray(look) ? look : [look, 0, 1]);
function color(look) {
  const [slot, k, n] = lookOf(look);
  const base = `var(--c${slot % 12})`;
  const shade = n > 1 ? k / (n - 1) - 0.5 : 0;
  return shade ? `color-mix(in oklab, ${base}, var(${shade < 0 ? "--ink" : "--paper"}) ${Math.round(Math.abs(shade) * 100)}%)` : base;
}
const markOf = (look) => { const [slot, k] = lookOf(look); return MARKS[(slot + Math.floor(slot / 12) + k) % 4]; };

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function ticks(low, high, { count = 6, least = 0 } = {}) {
  const rough = Math.max((high - low) / count || 1, least);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((k) => k >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step / 1e6; t += step) found.push(Number(t.toPrecision(10)));
  return found;
}

function logTicks(low, high) {
  const inside = (steps) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      found.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(3))));
    }
    return found.filter((t) => t >= low * 0.999 && t <= high * 1.001);
  };
  return [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]].map(inside).find((found) => found.length > 2) || [low, high];
}

const short = (x) => (x >= 1e6 ? `${+(x / 1e6).toPrecision(3)}M` : x >= 1e3 ? `${+(x / 1e3).toPrecision(3)}k` : String(+x.toPrecision(3)));

// Ends of an axis. `zero`: of a cost, from nothing; `log`: a decade at least, so that a percent is not shown as a difference.
function axisEnds(values, { log = false, zero = false, least = 0, part = 0.06 } = {}) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) {
    [low, high] = [Math.log10(low), Math.log10(high)];
    if (high - low < 1) [low, high] = [(low + high - 1) / 2, (low + high + 1) / 2];
  } else if (high - low < (least || (high === low ? 1 : 0))) {
    const span = least || 1;
    [low, high] = [(low + high - span) / 2, (low + high + span) / 2];
  }
  const pad = (high - low) * part;
  return zero ? [0, high * (1 + part) || 1] : [low - pad, high + pad];
}

// A frame with axes; gives back the picture and the maps from values to places.
function frame(title, xs, ys, { log = false, names = null, xLabel = "", yLabel = "score (0–100)", whole = false, zero = false } = {}) {
  const positive = log ? xs.filter((x) => x > 0) : xs;
  let [x0, x1] = names ? [-0.5, names.length - 0.5] : axisEnds(positive, { log, zero, least: whole ? 1 : 0 });
  const labels = names ? names.map((name, i) => [i, name]) : (log ? logTicks(10 ** x0, 10 ** x1) : ticks(x0, x1, { least: whole ? 1 : 0 })).map((t) => [t, short(t)]);
  const zeroPlace = x0 - 0.1 * (x1 - x0); // a logarithmic axis has no zero: it stands apart, left of the others
  if (positive.length < xs.length) {
    labels.unshift([0, "0"]);
    x0 = zeroPlace - 0.06 * (x1 - x0);
  }
  const warp = (x) => (!log ? x : x > 0 ? Math.log10(x) : zeroPlace);
  const [y0, y1] = axisEnds(ys, { least: 1, part: 0.08 });
  const slanted = names !== null && names.length > 7; // so many do not fit side by side
  const bottom = BOX.bottom + (slanted ? 34 : 0);
  const across = BOX.width - BOX.left - BOX.right;
  const down = BOX.height - BOX.top - bottom;
  const x = (value) => BOX.left + ((warp(value) - x0) / (x1 - x0)) * across;
  const y = (value) => BOX.top + (1 - (value - y0) / (y1 - y0)) * down;
  const svg = drawn("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group", "aria-label": title });
  for (const t of ticks(y0, y1)) {
    svg.append(drawn("line", { class: "axis", x1: BOX.left, x2: BOX.width - BOX.right, y1: y(t), y2: y(t) }),
      drawn("text", { x: BOX.left - 6, y: y(t) + 4, "text-anchor": "end" }, short(t)));
  }
  const skip = names ? Math.ceil(names.length / 20) : 1;
  labels.filter((_, i) => i % skip === 0).forEach(([at, text]) => {
    const place = `translate(${x(at)},${BOX.height - bottom + 16})`;
    const turned = slanted ? { "text-anchor": "end", transform: `${place} rotate(-50)` } : { "text-anchor": "middle", transform: place };
    svg.append(drawn("text", turned, text));
  });
  svg.append(drawn("text", { class: "title", x: BOX.left + across / 2, y: BOX.height - 8, "text-anchor": "middle" }, xLabel),
    drawn("text", { class: "title", "text-anchor": "middle", transform: `translate(14,${BOX.top + down / 2}) rotate(-90)` }, yLabel));
  return { svg, x, y };
}

// An interval; where it goes on beyond what is shown, its end is an arrow.
function interval(at, ends, [low, high], y, stroke) {
  const [from, to] = ends.map((end) => y(Math.min(high, Math.max(low, end))));
  const bar = drawn("g", { class: "interval" }, drawn("path", { d: `M${at},${from}V${to}`, ...stroke, fill: "none", "stroke-width": 1.5, opacity: 0.6 }));
  const arrow = (tip, back) => drawn("path", { class: "beyond", d: `M${at},${tip}l-4,${back}h8z`, fill: stroke.stroke });
  if (ends[0] < low) bar.append(arrow(from + 5, -7));
  if (ends[1] > high) bar.append(arrow(to - 5, 7));
  return bar;
}

function figure(title, detail, ...pictured) {
  const caption = node("figcaption", {}, title, " ", node("small", {}, detail));
  return node("figure", {}, caption, ...pictured);
}

// points: {x, y, ends, row, column, table, row's look, label, more, line, hollow}; with `names`, x counts them; those of
// one `line` are joined, and so are those of the `front`.
function scatter(title, points, { front = [], ...options }) {
  const shownEnds = shownRange(points);
  const { svg, x, y } = frame(title, points.map((p) => p.x), shownEnds, options);
  const places = points.map((p) => x(p.x));
  const place = options.names ? sideBySide(places, (0.4 * (BOX.width - BOX.left - BOX.right)) / options.names.length) : places;
  const [best, ...others] = [...front].sort((a, b) => a.x - b.x);
  if (others.length) svg.append(drawn("path", { class: "front", d: `M${x(best.x)},${y(best.y)}${others.map((p) => `H${x(p.x)}V${y(p.y)}`).join("")}` }));
  for (const line of new Set(points.map((p) => p.line).filter((name) => name !== undefined))) {
    const along = points.map((p, i) => ({ p, at: place[i] })).filter(({ p }) => p.line === line).sort((a, b) => a.p.x - b.p.x);
    const path = along.map(({ p, at }) => `${at},${y(p.y)}`).join("L");
    svg.append(drawn("path", { d: `M${path}`, fill: "none", stroke: color(along[0].p.look[0]), "stroke-width": 1.6 }));
  }
  points.forEach((p, i) => {
    const text = `${p.label}: ${shown(p.y)}${p.ends ? ` (${range(p.ends)})` : ""}${p.more ? `; ${p.more}` : ""}`;
    const group = drawn("g", { tabindex: 0, role: "button", "aria-label": text });
    group.append(drawn("title", {}, text));
    if (p.ends) group.append(interval(place[i], p.ends, shownEnds, y, { stroke: color(p.look) }));
    const fill = p.hollow ? { fill: "var(--paper)", stroke: color(p.look), "stroke-width": 1.5 } : { fill: color(p.look) };
    group.append(drawn("path", { d: markOf(p.look), transform: `translate(${place[i]},${y(p.y)})`, ...fill }));
    const open = () => openCell(p.table, p.row, p.column);
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
    });
    svg.append(group);
  });
  return svg;
}

// All means, and intervals as far as they are not wider than all means together: a wider one is cut.
function shownRange(points) {
  const means = points.map((p) => p.y);
  const ends = points.flatMap((p) => p.ends || []);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const room = high - low || 1;
  return [Math.max(Math.min(low, ...ends), low - room), Math.min(Math.max(high, ...ends), high + room)];
}

// Points that would lie on one another stand side by side.
function sideBySide(places, most) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const found = [...places];
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && places[order[end]] - places[order[start]] < 4.5) end++;
    const gap = Math.min(9, (2 * most) / Math.max(1, end - start - 1));
    for (let k = start; k < end; k++) found[order[k]] += (k - start - (end - start - 1) / 2) * gap;
    start = end;
  }
  return found;
}

// Dev score by epoch: the mean over seeds, and the lowest and highest of them.
function lineOf(row, runs) {
  const curves = runs.map((run) => run[RUN.curve]).filter((curve) => curve.length);
  const length = Math.max(0, ...curves.map((curve) => curve.length));
  const first = Math.min(...runs.map((run) => run[RUN.first] ?? 1)); // 0: an untrained model's score
  const points = [];
  for (let epoch = 0; epoch < length; epoch++) {
    const values = curves.map((curve) => curve[epoch]).filter((value) => value !== undefined && value !== null);
    if (values.length) {
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      points.push([epoch + first, mean, Math.min(...values), Math.max(...values)]);
    }
  }
  return { row, look: row.look, points };
}

function curvePlot(title, series) {
  const drawnSeries = series.filter((one) => one.points.length > 1);
  if (!drawnSeries.length) return node("p", {}, series.some((one) => one.points.length) ? "One epoch: there is no curve." : "No epochs are stored.");
  const all = drawnSeries.flatMap((one) => one.points);
  const { svg, x, y } = frame(title, all.map((p) => p[0]), all.flatMap((p) => [p[2], p[3]]),
    { xLabel: "epoch", yLabel: "dev score (0–100)", whole: true });
  for (const { points, row, look } of drawnSeries) {
    const upper = points.map((p) => `${x(p[0])},${y(p[3])}`);
    const lower = points.map((p) => `${x(p[0])},${y(p[2])}`).reverse();
    const line = points.map((p) => `${x(p[0])},${y(p[1])}`).join("L");
    svg.append(drawn("path", { d: `M${[...upper, ...lower].join("L")}Z`, fill: color(look), opacity: 0.1 }));
    const dash = ["", "6 3", "2 3", "8 3 2 3"][(Math.floor(look[0] / 4) + look[1]) % 4];
    svg.append(drawn("path", { d: `M${line}`, fill: "none", stroke: color(look), "stroke-width": 1.8, "stroke-dasharray": dash },
      drawn("title", {}, rowName(row))));
    const [end, mean] = points[points.length - 1];
    svg.append(drawn("path", { d: markOf(look), transform: `translate(${x(end)},${y(mean)})`, fill: color(look) }));
  }
  return svg;
}

const keyMark = (look) => drawn("svg", { viewBox: "-6 -6 12 12", "aria-hidden": "true" }, drawn("path", { d: markOf(look), fill: color(look) }));

function legend(rows) {
  return node("div", { class: "keys" }, ...rows.map((row) => node("span", {}, keyMark(row.look), ...rowNodes(row))));
}
