"use strict";
// Sorting, and the panel that a cell opens. All text goes in as text: a name is never read as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUN = { id: 0, folder: 1, variant: 2, made: 3, seed: 4, test: 5, dev: 6, best: 7, train: 8, curve: 9, notes: 10,
  first: 11 };

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const shown = (value, digits = 2) => (value === null || value === undefined ? "—" : Number(value).toFixed(digits));
const range = (ends) => (ends ? `${shown(ends[0])} to ${shown(ends[1])}` : null);
const SMALL = { B: "ᴮ", r: "ᵣ", e: "ₑ", s: "ₛ" };
const inOption = (label) => label.replace(/\^(\w)(?:_(\w+))?$/, (_, up, down = "") => [...up, ...down].map((letter) => SMALL[letter] ?? letter).join(""));
const rowName = (row) => inOption(row.label) + (row.differs ? ` (${row.differs})` : ""); // where there is no markup

// The row's name as the table has it: KronA, a raised B, a lowered res.
function rowNodes(row) {
  const [, name, up, down] = row.label.match(/^(\w+?)\^(\w)(?:_(\w+))?$/) || [null, row.label];
  return [name, up && node("sup", {}, up), down && node("sub", {}, down), row.differs && ` (${row.differs})`].filter(Boolean);
}

// ---- sorting -------------------------------------------------------------------------------------------------

function sortTable(table, column, head) {
  const up = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  const value = (row) => row.cells[column].dataset.value;
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // missing cells stay last
    return up ? x - y : y - x;
  });
  table.tBodies[0].append(...rows);
}

// ---- a cell's runs -------------------------------------------------------------------------------------------

function settingsOf(run) {
  const found = { ...DATA.common };
  for (const [i, value] of Object.entries(DATA.variants[run[RUN.variant]])) found[DATA.keys[i]] = value;
  return found;
}

function table(heads, rows, caption) {
  const head = node("tr", {}, ...heads.map((text) => node("th", { scope: "col" }, text)));
  const body = rows.map((cells) => node("tr", {}, ...cells.map((cell) => node("td", cell.tagName === "A" ? { class: "id" } : {}, cell))));
  const made = node("table", { class: "plain" }, node("thead", {}, head), node("tbody", {}, ...body));
  return node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
}

function runTable(runs) {
  const rows = runs.map((run) => {
    const path = `${DATA.folders[run[RUN.folder]]}/${encodeURIComponent(run[RUN.id])}/result.json`;
    const link = node("a", { href: path }, run[RUN.id]);
    return [String(run[RUN.seed]), shown(run[RUN.test]), shown(run[RUN.dev]), String(run[RUN.best] ?? "—"),
      shown(run[RUN.train], 0), link];
  });
  return table(["Seed", "Test", "Dev", "Best epoch", "Training s", "result.json"], rows, "Runs");
}

// A key that is broken, where it must be, behind its dots and underscores.
const breakable = (key) => node("span", {}, ...key.split(/(?<=[._])/).flatMap((part) => [part, node("wbr")]));

function differences(row, other, runs, others) {
  const [ours, theirs] = [settingsOf(runs[0]), settingsOf(others[0])];
  const keys = DATA.keys.filter((key) => (ours[key] ?? "") !== (theirs[key] ?? ""));
  if (!keys.length) return node("p", {}, "No setting differs.");
  return table(["Setting", node("span", {}, ...rowNodes(row)), node("span", {}, ...rowNodes(other))], keys.map((key) => [breakable(key), ours[key] || "not set", theirs[key] || "not set"]),
    "Settings that differ");
}

function apart(about, column, i, j) {
  const found = about.apart[column]?.[i < j ? `${i} ${j}` : `${j} ${i}`];
  if (!found) return "No seed of both has stored predictions on one test set.";
  const [count, all, seeds] = found;
  return `Their predictions differ in ${count} of ${all} ${about.split} examples (${seeds} seed${seeds > 1 ? "s, mean" : ""}).`;
}

function summary(about, kind, cell) {
  const facts = [];
  if (cell.v !== undefined) facts.push(`Mean ${shown(cell.v)} over ${cell.runs?.length ?? 0} run${cell.runs?.length === 1 ? "" : "s"}.`);
  if (cell.r) facts.push(`Its two seeds: ${range(cell.r)}.`);
  if (cell.t) facts.push(`Over seeds (95 %, Student's t): ${range(cell.t)}.`);
  if (cell.b) facts.push(`Over ${kind === "beside" ? "test" : about.split} sets like this one (95 %, bootstrap): ${range(cell.b)}.`);
  if (cell.paper !== undefined) facts.push(`The paper: ${cell.paper}.`);
  if (cell.best) facts.push("Best of its column.");
  if (cell.p !== undefined) facts.push(`Against the best: p = ${cell.p} (Holm)${cell.tied ? ", not significantly different" : ""}.`);
  if (cell.missing) facts.push(`Missing: ${cell.missing}.`);
  const made = [node("p", {}, facts.join(" ")), ...(cell.remarks || []).map((line) => node("p", { class: "caution" }, line))];
  return cell.command ? [...made, node("p", {}, "Make it: ", node("code", {}, cell.command))] : made;
}

function openCell(tableIndex, rowIndex, column) {
  const about = DATA.tables[tableIndex];
  const row = about.rows[rowIndex];
  const cell = row.cells[column];
  const [, name, kind] = about.columns.find((one) => one[0] === column);
  const runs = (cell.runs || []).map((i) => DATA.runs[i]);
  const body = document.getElementById("details-body");
  document.getElementById("details-title").replaceChildren(...rowNodes(row), `, ${name}`);
  body.replaceChildren(...summary(about, kind, cell));
  const compared = node("div");
  const others = about.rows.map((one, i) => i).filter((i) => i !== rowIndex && about.rows[i].cells[column]?.runs);
  if (runs.length && kind === "task") {
    const curves = node("div");
    body.append(curves);
    const show = (i) => {
      const series = [lineOf(row, runs)];
      compared.replaceChildren();
      if (i >= 0) {
        const theirs = about.rows[i].cells[column].runs.map((k) => DATA.runs[k]);
        series.push(lineOf(about.rows[i], theirs));
        compared.append(node("p", {}, apart(about, column, rowIndex, i)), differences(row, about.rows[i], runs, theirs));
      }
      curves.replaceChildren(curvePlot("Dev score by epoch", series), legend(series.map((one) => one.row)));
    };
    const first = others.find((i) => about.rows[i].cells[column].best) ?? others[0] ?? -1;
    show(first);
    if (others.length) {
      const pick = node("select", { id: "compare" });
      others.forEach((i) => pick.append(new Option(rowName(about.rows[i]), i, false, i === first)));
      pick.addEventListener("change", () => show(Number(pick.value)));
      body.append(node("h3", {}, node("label", {}, "Compared with ", pick)), compared);
    }
  }
  if (runs.length) {
    body.append(node("h3", {}, "Runs"), runTable(runs), node("h3", {}, "Where these numbers come from"));
    const made = [...new Set(runs.map((run) => DATA.made[run[RUN.made]]))];
    const notes = [...new Set(runs.flatMap((run) => run[RUN.notes]))];
    body.append(node("ul", { class: "notes" }, ...[...made, ...notes].map((line) => node("li", {}, line))));
  }
  const dialog = document.getElementById("details");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.cell !== undefined) {
    const [tableIndex, rowIndex, ...column] = button.dataset.cell.split(",");
    openCell(Number(tableIndex), Number(rowIndex), column.join(","));
  } else if (button.dataset.sort !== undefined) {
    sortTable(button.closest("table"), Number(button.dataset.sort), button.closest("th"));
  }
});
