// The data, what is shown of it, and who wants to know when that changes.
const report = JSON.parse(document.getElementById("report-data").textContent);
const points = report.points;
const count = points.id.length;
const state = { hardware: 0, split: "validation", hidden: new Set(), current: null, chosen: null };
const listeners = [];

function byId(id) {
  return document.getElementById(id);
}

// An element whose text is set as text: names from a study never become markup.
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function swatch(family) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "s");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#f${family}`);
  svg.append(use);
  return svg;
}

function change(part) {
  Object.assign(state, part);
  for (const listener of listeners) listener(Object.keys(part));
}

function mean(i) {
  return points[`${state.split}_mean`][i];
}

function sd(i) {
  return points[`${state.split}_sd`][i];
}

function isShown(i) {
  return points.hardware[i] === state.hardware && !state.hidden.has(points.family[i]);
}

function isDrawn(i) {
  return isShown(i) && points.status[i] === "done" && points.energy_pj[i] > 0 && mean(i) !== null;
}

function everyPoint(keep) {
  return Array.from({ length: count }, (_, i) => i).filter(keep);
}

// The front of all families, energy ascending.
function walk() {
  return report.fronts[state.hardware].filter(isDrawn);
}

// The next point of the front from `from` on, in the direction of `step`.
function alongFront(from, step) {
  const front = walk();
  if (!front.length) return null;
  const place = front.indexOf(from);
  if (place >= 0) return front[Math.min(front.length - 1, Math.max(0, place + step))];
  if (from === null || points.energy_pj[from] === null) return front[step > 0 ? 0 : front.length - 1];
  const energy = points.energy_pj[from];
  if (step > 0) return front.find((i) => points.energy_pj[i] >= energy) ?? front[front.length - 1];
  return front.filter((i) => points.energy_pj[i] <= energy).pop() ?? front[0];
}

function spokenText(i) {
  const dram = points.dram_share[i] === null ? "" : `, DRAM ${percentText(points.dram_share[i], 0)}`;
  const result = points.status[i] === "done" ? accuracyText(mean(i), sd(i)) : `${points.status[i]}: ${points.reason[i] ?? ""}`;
  return `${points.label[i]}: ${result}, ${energyText(points.energy_pj[i])}${dram}`;
}
