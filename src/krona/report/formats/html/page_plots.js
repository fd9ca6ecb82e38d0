// Pictures, as SVG made here: points with intervals, and curves with a band from the lowest to the highest seed.
const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 460, height: 270, left: 46, right: 20, top: 10, bottom: 40 };
const MARKS = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-3.6,-3.6h7.2v7.2h-7.2z", "M0,-4.6L4.4,3.4H-4.4z", "M0,-5L5,0L0,5L-5,0z"];
const SCORES = ["task", "beside", "average"]; // kinds of columns
const color = (i) => `var(--c${i % 12})`;
const markOf = (i) => MARKS[(i + Math.floor(i / 12)) % 4]; // the 13th row has the first's colour and another mark

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

// A frame with axes; gives back the picture and the maps from values to places.
function frame(title, xs, ys, { log = false, names = null, xLabel = "", whole = false } = {}) {
  const pad = (low, high, part) => [low - (high - low || 1) * part, high + (high - low || 1) * part];
  const warp = log ? Math.log10 : (x) => x;
  const [x0, x1] = names ? [-0.5, names.length - 0.5] : pad(warp(Math.min(...xs)), warp(Math.max(...xs)), 0.06);
  const [y0, y1] = pad(Math.min(...ys), Math.max(...ys), 0.08);
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
  const marks = names ? names.map((name, i) => [i, name]) : (log ? logTicks(10 ** x0, 10 ** x1) : ticks(x0, x1, { least: whole ? 1 : 0 })).map((t) => [t, short(t)]);
  const skip = names ? Math.ceil(names.length / 20) : 1;
  marks.filter((_, i) => i % skip === 0).forEach(([at, text]) => {
    const place = `translate(${x(at)},${BOX.height - bottom + 16})`;
    const turned = slanted ? { "text-anchor": "end", transform: `${place} rotate(-50)` } : { "text-anchor": "middle", transform: place };
    svg.append(drawn("text", turned, text));
  });
  svg.append(drawn("text", { x: BOX.left + across / 2, y: BOX.height - 6, "text-anchor": "middle" }, xLabel));
  return { svg, x, y };
}

function figure(title, detail, ...pictured) {
  const caption = node("figcaption", {}, title, " ", node("small", {}, detail));
  return node("figure", {}, caption, ...pictured);
}

// points: {x, y, ends, row, column, table, label, hue, line}; with `names`, x counts them; those of one `line` are joined.
function scatter(title, points, options) {
  const [low, high] = shownRange(points);
  const { svg, x, y: whereY } = frame(title, points.map((p) => p.x), [low, high], options);
  const y = (value) => whereY(Math.min(high, Math.max(low, value)));
  const places = points.map((p) => x(p.x));
  const place = sideBySide(places, options.names ? (0.4 * (BOX.width - BOX.left - BOX.right)) / options.names.length : 18);
  for (const line of new Set(points.map((p) => p.line).filter((name) => name !== undefined))) {
    const along = points.map((p, i) => ({ p, at: place[i] })).filter(({ p }) => p.line === line).sort((a, b) => a.p.x - b.p.x);
    const path = along.map(({ p, at }) => `${at},${y(p.y)}`).join("L");
    svg.append(drawn("path", { d: `M${path}`, fill: "none", stroke: color(along[0].p.hue), "stroke-width": 1.6 }));
  }
  points.forEach((p, i) => {
    const stroke = { stroke: color(p.hue), "stroke-width": 1.5, fill: "none" };
    const group = drawn("g", { tabindex: 0, role: "button", "aria-label": `${p.label}: ${shown(p.y)}` });
    group.append(drawn("title", {}, `${p.label}: ${shown(p.y)}${p.ends ? ` (${range(p.ends)})` : ""}`));
    if (p.ends) group.append(drawn("path", { d: `M${place[i]},${y(p.ends[0])}V${y(p.ends[1])}`, ...stroke, opacity: 0.55 }));
    group.append(drawn("path", { d: markOf(p.hue), transform: `translate(${place[i]},${y(p.y)})`, fill: color(p.hue) }));
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
function lineOf(row, index, runs) {
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
  return { label: rowName(row), index, points };
}

function curvePlot(title, series) {
  const drawnSeries = series.filter((one) => one.points.length);
  if (!drawnSeries.length) return node("p", {}, "No epochs are stored.");
  const all = drawnSeries.flatMap((one) => one.points);
  const { svg, x, y } = frame(title, all.map((p) => p[0]), all.flatMap((p) => [p[2], p[3]]), { xLabel: "epoch", whole: true });
  for (const { points, index, label } of drawnSeries) {
    const upper = points.map((p) => `${x(p[0])},${y(p[3])}`);
    const lower = points.map((p) => `${x(p[0])},${y(p[2])}`).reverse();
    const line = points.map((p) => `${x(p[0])},${y(p[1])}`).join("L");
    svg.append(drawn("path", { d: `M${[...upper, ...lower].join("L")}Z`, fill: color(index), opacity: 0.1 }));
    const dash = ["", "6 3", "2 3", "8 3 2 3"][Math.floor(index / 4) % 4];
    svg.append(drawn("path", { d: `M${line}`, fill: "none", stroke: color(index), "stroke-width": 1.8, "stroke-dasharray": dash },
      drawn("title", {}, label)));
    const [end, mean] = points[points.length - 1];
    svg.append(drawn("path", { d: markOf(index), transform: `translate(${x(end)},${y(mean)})`, fill: color(index) }));
  }
  return svg;
}

function legend(entries) {
  return node("div", { class: "keys" }, ...entries.map(({ label, index }) => node("span", {},
    drawn("svg", { viewBox: "-6 -6 12 12", "aria-hidden": "true" }, drawn("path", { d: markOf(index), fill: color(index) })), label)));
}

function meanTime(cell) {
  const times = cell.runs.map((i) => DATA.runs[i][RUN.train]).filter((time) => time !== null);
  return times.length ? times.reduce((a, b) => a + b, 0) / times.length : null;
}

// A method of several sizes is a line of one colour; where there is none, each row has its own.
function byParameters(rows, point) {
  const sized = rows.filter(({ row }) => row.params);
  const labels = [...new Set(sized.map(({ row }) => row.label))];
  const sizes = (label) => new Set(sized.filter(({ row }) => row.label === label).map(({ row }) => row.params)).size;
  if (new Set(sized.map(({ row }) => row.params)).size < 2) return [];
  const lines = labels.filter((label) => sizes(label) > 1);
  const points = sized.map((one) => ({ ...point(one, one.row.params),
    ...(lines.length ? { hue: labels.indexOf(one.row.label) } : {}), ...(lines.includes(one.row.label) ? { line: one.row.label } : {}) }));
  const made = scatter("Score against parameters", points, { log: true, xLabel: "trainable parameters" });
  const shownLegend = lines.length ? [legend(labels.map((label, index) => ({ label, index })))] : [];
  return [figure("Score against parameters", "logarithmic", made, ...shownLegend)];
}

function pictures(tableIndex, column) {
  const about = DATA.tables[tableIndex];
  const kind = about.columns.find((one) => one[0] === column)[2];
  const rows = about.rows.map((row, i) => ({ row, i, cell: row.cells[column] })).filter(({ cell }) => cell?.v !== undefined);
  const point = ({ row, i, cell }, x) =>
    ({ x, y: cell.v, ends: cell.t || cell.b, row: i, hue: i, column, table: tableIndex, label: rowName(row) });
  const made = [];
  const add = (title, detail, value, options) => {
    const points = rows.filter((one) => value(one) !== null && value(one) !== undefined).map((one) => point(one, value(one)));
    if (new Set(points.map((p) => p.x)).size > 1) made.push(figure(title, detail, scatter(title, points, options)));
  };
  const shapes = [...new Map(rows.filter(({ row }) => row.shape).map(({ row }) => [row.shape, row.rank ?? 0]))]
    .sort((a, b) => a[1] - b[1]).map(([shape]) => shape);
  if (kind === "task") {
    const series = [...rows].sort((a, b) => b.cell.v - a.cell.v).slice(0, 12).sort((a, b) => a.i - b.i)
      .map(({ row, i, cell }) => lineOf(row, i, cell.runs.map((k) => DATA.runs[k])));
    const detail = rows.length > 12 ? "mean, lowest and highest seed; the best 12 rows" : "mean, lowest and highest seed";
    if (series.some((one) => one.points.length)) {
      made.push(figure("Dev score by epoch", detail, curvePlot("Dev score by epoch", series)));
    }
  }
  add("Score by shape of A", "in order of rank", ({ row }) => (row.shape ? shapes.indexOf(row.shape) : null),
    { names: shapes, xLabel: "shape of A" });
  made.push(...byParameters(rows, point));
  add("Score against training time", "mean over runs", ({ cell }) => meanTime(cell), { xLabel: "seconds of training" });
  add("Score against rank of the update", "logarithmic", ({ row }) => row.rank || null, { log: true, xLabel: "highest rank of the update" });
  const keys = rows.map(({ row, i }) => ({ label: rowName(row), index: i }));
  const named = keys.length > 14 ? node("details", {}, node("summary", {}, `The marks of the ${keys.length} rows`), legend(keys)) : legend(keys);
  named.style.gridColumn = "1 / -1";
  document.getElementById("plot-area").replaceChildren(named, ...made);
}

function startPictures() {
  const [pickTable, pickTask] = ["pick-table", "pick-task"].map((id) => document.getElementById(id));
  if (!pickTable) return;
  const columnsOf = (about) => about.columns.filter(([key, , kind]) =>
    SCORES.includes(kind) && about.rows.some((row) => row.cells[key]?.v !== undefined));
  DATA.tables.forEach((about, i) => {
    if (about.ours && columnsOf(about).length) pickTable.append(new Option(about.heading, i));
  });
  if (!pickTable.options.length) { document.getElementById("plots").remove(); return; }
  const fill = () => {
    pickTask.replaceChildren(...columnsOf(DATA.tables[pickTable.value]).map(([key, label]) => new Option(label, key)));
    draw();
  };
  const draw = () => pictures(Number(pickTable.value), pickTask.value);
  pickTable.addEventListener("change", fill);
  pickTask.addEventListener("change", draw);
  fill();
}

startPictures();
