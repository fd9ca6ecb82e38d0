// The section of pictures: what a table's column shows, costs beside the score first.
const COSTS = { // unit: what a stored cost is divided by
  params: { title: "Score against parameters", xLabel: "trainable parameters, logarithmic", unit: 1, told: (v) => `${v.toLocaleString("en")} parameters`, head: "Parameters" },
  time: { title: "Score against training time", xLabel: "training time (s)", unit: 1, told: (v) => `${short(v)} s`, head: "Training (s)" },
  memory: { title: "Score against peak memory", xLabel: "peak memory (GB)", unit: 1e9, told: (v) => `${short(v)} GB`, head: "Peak memory (GB)" },
  step: { title: "Score against the time of a step", xLabel: "training time of a step (ms)", unit: 1e-3, told: (v) => `${short(v)} ms` },
  adds: { title: "Score against multiply-adds", xLabel: "multiply-adds that a token adds, not merged (million)", unit: 1e6, told: (v) => `${short(v)} million multiply-adds` },
  launches: { title: "Score against launches", xLabel: "launches that a forward adds, not merged", unit: 1, told: (v) => `${v} launches` },
  adapter: { title: "Score against the adapter's size", xLabel: "adapter (KB)", unit: 1e3, told: (v) => `${short(v)} KB` },
};
const FIRST = ["params", "time", "memory"]; // the other costs' pictures are folded away
const sureness = (p) => (p === null ? "one seed each" : `${Math.round(100 * p)} %`);

// Score against each cost that is known, side by side; what no other row beats on both is filled and joined: the front.
function costPictures(about, column, rows, point, yLabel) {
  const fronts = about.fronts[column] || {};
  const costs = Object.keys(COSTS).filter((cost) => fronts[cost]);
  const made = costs.map((cost) => {
    const { title, xLabel, unit, told } = COSTS[cost];
    const known = rows.filter(({ i }) => fronts[cost][i]);
    const points = known.map((one) => {
      const [spent, onFront, p] = fronts[cost][one.i];
      const more = `${told(spent / unit)}; on the front: ${p === null ? (onFront ? "yes" : "no") : sureness(p)}`;
      return { ...point(one, spent / unit), hollow: !onFront, more };
    });
    const sizes = points.map((p) => p.x).filter((size) => size > 0);
    const log = cost === "params" || Math.max(...sizes) > 20 * Math.min(...sizes);
    if (cost === "params") joinSizes(points);
    const front = points.filter((p) => !p.hollow);
    return figure(title, "filled and joined: the Pareto front", scatter(title, points,
      { log, zero: !log, xLabel: log && cost !== "params" ? `${xLabel}, logarithmic` : xLabel, yLabel, front }));
  });
  if (!costs.length) return [];
  const first = made.filter((_, i) => FIRST.includes(costs[i])), others = made.filter((_, i) => !FIRST.includes(costs[i]));
  const told = frontTable(fronts, costs.filter((cost) => FIRST.includes(cost)), rows);
  const more = others.length ? [node("details", { class: "wide" }, node("summary", {}, "Score against other costs"), node("div", { class: "plots" }, ...arranged(others)))] : [];
  if (first.length < 2) return [...arranged([...first, told]), ...more];
  told.classList.add("wide");
  return [...arranged(first), told, ...more];
}

// A method that was trained at several sizes is a line.
function joinSizes(points) {
  points.forEach((p) => {
    const sizes = points.filter((other) => other.method === p.method).map((other) => other.x);
    if (Math.max(...sizes) >= 1.2 * Math.min(...sizes)) p.line = p.method;
  });
}

// As many decimals for all as the smallest needs for three digits that count.
function oneWidth(values) {
  const digits = Math.max(0, ...values.filter(Boolean).map((value) => 2 - Math.floor(Math.log10(value))));
  return (value) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function frontTable(fronts, costs, rows) {
  const written = Object.fromEntries(costs.map((cost) =>
    [cost, cost === "params" ? (v) => v.toLocaleString("en") : oneWidth(fronts[cost].filter(Boolean).map(([spent]) => spent / COSTS[cost].unit))]));
  const heads = ["Row", ...costs.flatMap((cost) => [COSTS[cost].head, "On the front"])];
  const lines = rows.map(({ row, i }) => [node("span", {}, keyMark(row.look), ...rowNodes(row)), ...costs.flatMap((cost) => {
    const found = fronts[cost][i];
    if (!found) return ["—", "—"];
    const value = found[0] / COSTS[cost].unit;
    return [written[cost](value), `${found[1] ? "yes" : "no"}${found[2] === null ? "" : `, ${sureness(found[2])}`}`];
  })]);
  const summary = node("summary", {}, "Who is on the Pareto front, and how sure that is");
  const known = costs.some((cost) => fronts[cost].some((one) => one && one[2] !== null));
  const note = node("p", {}, known ? "Percent: the probability to be on the front, over 1,000 bootstrap draws of each row's seeds."
    : "One seed each: how sure that is, is not known.");
  const open = rows.length <= 14 ? { open: "" } : {};
  return node("details", { class: "fronts", ...open }, summary, table(heads, lines, "Pareto front"), note);
}

// Rows of three plots, and of two where three would leave one alone: no row has an empty place.
function arranged(figures) {
  const rest = figures.length % 3;
  const pairs = figures.length < 3 ? figures.length : rest === 1 ? 4 : rest;
  figures.forEach((one, i) => { one.style.setProperty("--span", i < figures.length - pairs ? 2 : 3); });
  return figures;
}

function pictures(tableIndex, column) {
  const about = DATA.tables[tableIndex];
  const [, name, kind] = about.columns.find((one) => one[0] === column);
  const rows = about.rows.map((row, i) => ({ row, i, cell: row.cells[column] })).filter(({ cell }) => cell?.v !== undefined);
  const point = ({ row, i, cell }, x) =>
    ({ x, y: cell.v, ends: cell.r || cell.t || cell.b, row: i, look: row.look, column, table: tableIndex, label: rowName(row), method: row.label });
  const yLabel = `${name}, score (0–100)`;
  const made = [];
  const add = (title, detail, value, options) => {
    const points = rows.filter((one) => value(one) !== null && value(one) !== undefined).map((one) => point(one, value(one)));
    if (new Set(points.map((p) => p.x)).size > 1) made.push(figure(title, detail, scatter(title, points, { yLabel, ...options })));
  };
  const shapes = [...new Map(rows.filter(({ row }) => row.shape).map(({ row }) => [row.shape, row.rank ?? 0]))]
    .sort((a, b) => a[1] - b[1]).map(([shape]) => shape);
  if (kind === "task") {
    const series = [...rows].sort((a, b) => b.cell.v - a.cell.v).slice(0, 12).sort((a, b) => a.i - b.i)
      .map(({ row, cell }) => lineOf(row, cell.runs.map((k) => DATA.runs[k])));
    const detail = rows.length > 12 ? "mean, lowest and highest seed; the best 12 rows" : "mean, lowest and highest seed";
    if (series.some((one) => one.points.length > 1)) {
      made.push(figure("Dev score by epoch", detail, curvePlot("Dev score by epoch", series)));
    }
  }
  add("Score by shape of A", "in order of rank", ({ row }) => (row.shape ? shapes.indexOf(row.shape) : null),
    { names: shapes, xLabel: "shape of A, rows x columns" });
  add("Score against rank of the update", "logarithmic", ({ row }) => row.rank || null, { log: true, xLabel: "highest rank of the update" });
  add("Score against effective rank", "what was learned, logarithmic", ({ row }) => row.effective || null,
    { log: true, xLabel: "effective rank of the trained update" });
  const keys = legend(rows.map(({ row }) => row));
  const named = rows.length > 14 ? node("details", {}, node("summary", {}, `The marks of the ${rows.length} rows`), keys) : keys;
  named.classList.add("wide");
  document.getElementById("plot-area").replaceChildren(named, ...costPictures(about, column, rows, point, yLabel), ...arranged(made));
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
    const columns = columnsOf(DATA.tables[pickTable.value]);
    pickTask.replaceChildren(...columns.map(([key, label]) => new Option(inOption(label), key)));
    const average = columns.find(([, , kind]) => kind === "average"); // what the page's first sentence is on
    if (average) pickTask.value = average[0];
    draw();
  };
  const draw = () => pictures(Number(pickTable.value), pickTask.value);
  pickTable.addEventListener("change", fill);
  pickTask.addEventListener("change", draw);
  fill();
}

startPictures();
