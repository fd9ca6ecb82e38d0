// A study's pictures: how the best dev score grew, and the dev score along each axis; pruned trials are crosses.
const CROSS = "M-3.5,-3.5L3.5,3.5M-3.5,3.5L3.5,-3.5";
const LOOKS = { finished: { fill: color(0) }, pruned: { stroke: color(8), "stroke-width": 1.6, fill: "none" } };

// One trial at (x, y): a dot, or a cross for one that was pruned.
function trialMark([number, state, value], x, y) {
  const d = state === "pruned" ? CROSS : markOf(0);
  const text = `trial ${number}, ${state}: ${shown(value)}`;
  return drawn("path", { d, transform: `translate(${x},${y})`, ...LOOKS[state] }, drawn("title", {}, text));
}

function historyPicture(trials) {
  const { svg, x, y } = frame("Dev score by trial", trials.map((t) => t[0]), trials.map((t) => t[2]), { xLabel: "trial", yLabel: "dev score (0–100)", whole: true });
  const steps = [];
  let best = -Infinity;
  for (const [number, state, value] of trials) {
    if (state !== "finished") continue;
    if (steps.length) steps.push(`H${x(number)}`);
    best = Math.max(best, value);
    steps.push(`${steps.length ? "V" : `M${x(number)},`}${y(best)}`);
  }
  if (steps.length) svg.append(drawn("path", { d: steps.join(""), fill: "none", stroke: color(1), "stroke-width": 1.6 }));
  trials.forEach((trial) => svg.append(trialMark(trial, x(trial[0]), y(trial[2]))));
  return svg;
}

function slicePicture(axis, place, trials) {
  const there = trials.filter((trial) => trial[3][place] !== null);
  const values = there.map((trial) => trial[3][place]);
  const xs = axis.names ? values : [...values, ...axis.range];
  const { svg, x, y } = frame(`Dev score along ${axis.key}`, xs, there.map((t) => t[2]),
    { names: axis.names, log: axis.log, xLabel: axis.log ? `${axis.key}, logarithmic` : axis.key, yLabel: "dev score (0–100)" });
  there.forEach((trial, i) => svg.append(trialMark(trial, x(values[i]), y(trial[2]))));
  return svg;
}

function startStudies() {
  (DATA.studies || []).forEach((study, i) => {
    const trials = study.trials.filter(([, state, value]) => value !== null && LOOKS[state]);
    if (trials.length < 2) return; // one point is no picture
    const history = figure("Dev score by trial", "dots finished, crosses pruned, line the best until then", historyPicture(trials));
    const slices = study.axes.map((axis, place) => [axis, place]).filter(([, place]) => trials.filter((t) => t[3][place] !== null).length > 1)
      .map(([axis, place]) => figure(`Dev score along ${axis.key}`, axis.log ? "logarithmic" : "", slicePicture(axis, place, trials)));
    document.getElementById(`study-${i}-plots`).replaceChildren(...arranged([history, ...slices]));
  });
}

startStudies();
