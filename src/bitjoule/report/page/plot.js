// The Pareto plot: plotly, one colour and one marker per family.
const plot = byId("plot");
const RING = { size: 17, symbol: "circle-open", line: { width: 3 } };
let unit = { scale: 1e6, name: "uJ" };
let drawn = false;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Plotly reads a little markup in its labels: what is a name must not be markup there either.
function inert(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function hoverText(i) {
  const lines = [`<b>${inert(points.label[i])}</b>`];
  if (!points.label[i].includes(points.scheme[i])) lines.push(inert(points.scheme[i]));
  if (points.width[i] !== null && !points.label[i].includes("width")) lines.push(`width ${points.width[i]}`);
  lines.push(`${state.split} ${accuracyText(mean(i), sd(i))}`, energyText(points.energy_pj[i]));
  if (points.dram_share[i] !== null) lines.push(`DRAM ${percentText(points.dram_share[i], 0)}`);
  if (points.weight_bits[i] !== null) lines.push(`weights ${sizeText(points.weight_bits[i])}`);
  return lines.map((line) => `\u00a0${line}\u00a0`).join("<br>");
}

function trace(members, style, color, onFront) {
  const deviations = members.map((i) => 100 * (sd(i) ?? 0));
  return {
    type: "scatter", mode: onFront ? "lines+markers" : "markers", showlegend: false,
    x: members.map((i) => points.energy_pj[i] / unit.scale), y: members.map((i) => 100 * mean(i)),
    customdata: members, hoverinfo: "text", hovertext: members.map(hoverText),
    opacity: onFront ? 1 : 0.45,
    line: { color, width: 2 },
    marker: { symbol: style.marker, color, size: onFront ? 11 : 7.5, opacity: 1,
      line: { color: css("--ink"), width: onFront ? 0.9 : 0.4 } },
    error_y: { type: "data", array: deviations, visible: deviations.some((d) => d > 0), color, thickness: 1.4, width: 4 },
    hoverlabel: { bordercolor: color },
  };
}

function ringTrace(color) {
  return { type: "scatter", mode: "markers", x: [], y: [], hoverinfo: "skip", showlegend: false,
    marker: { ...RING, color, line: { ...RING.line, color } } };
}

function traces() {
  const off = [];
  const on = [];
  report.families.forEach((family, f) => {
    const color = family.color === "currentColor" ? css("--ink") : family.color;
    const entry = report.family_fronts.find(([h, of]) => h === state.hardware && of === f);
    const front = (entry ? entry[2] : []).filter(isDrawn);
    const members = new Set(front);
    const others = everyPoint((i) => points.family[i] === f && isDrawn(i) && !members.has(i));
    if (others.length) off.push(trace(others, family, color, false));
    if (front.length) on.push(trace(front, family, color, true));
  });
  const front = walk();
  const band = { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
    x: front.map((i) => points.energy_pj[i] / unit.scale), y: front.map((i) => 100 * mean(i)),
    line: { color: css("--accent"), width: 13 }, opacity: 0.16 };
  return [band, ...off, ...on, ringTrace(css("--accent")), ringTrace(css("--ink"))];
}

// Labels at 1, 2 and 5 of each decade, finer where the range is small (report/ticks.py).
function logTicks(low, high) {
  const decades = [];
  for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d += 1) decades.push(d);
  for (const mantissas of [[1], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
    const found = decades.flatMap((d) => mantissas.map((m) => Number((m * 10 ** d).toPrecision(3))))
      .filter((v) => v >= low && v <= high);
    if (found.length >= 4) return found;
  }
  const rough = (high - low) / 9;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) ticks.push(Number((k * step).toPrecision(6)));
  return ticks;
}

function layout(range) {
  const ink = css("--ink");
  const soft = css("--soft");
  const axis = { gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, tickfont: { color: soft, size: 12.5 },
    automargin: true };
  const tickvals = range ? logTicks(10 ** range[0], 10 ** range[1]) : undefined;
  return {
    paper_bgcolor: css("--card"), plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 62, r: 18, t: 12, b: 52 },
    font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 13 },
    hovermode: "closest", hoverdistance: 24, dragmode: "zoom", showlegend: false,
    hoverlabel: { bgcolor: css("--card"), font: { color: ink, size: 13, family: getComputedStyle(document.body).fontFamily }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
    xaxis: { ...axis, type: "log", range, tickvals, ticktext: tickvals?.map((v) => `${Number(v.toPrecision(3))}`),
      title: { text: `energy of one inference, ${unit.name} (logarithmic)`, font: { color: soft, size: 13 }, standoff: 10 } },
    yaxis: { ...axis, ticksuffix: " %", title: { text: `accuracy, ${state.split}`, font: { color: soft, size: 13 }, standoff: 12 } },
  };
}

function energyRange() {
  const energies = everyPoint(isDrawn).map((i) => points.energy_pj[i]);
  if (!energies.length) return null;
  const most = Math.max(...energies);
  unit = most < 1e3 ? { scale: 1, name: "pJ" } : most < 1e9 ? { scale: 1e6, name: "uJ" } : { scale: 1e9, name: "mJ" };
  const [low, high] = [Math.min(...energies), most].map((e) => Math.log10(e / unit.scale));
  const pad = Math.max(0.05, 0.05 * (high - low));
  return [low - pad, high + pad];
}

function draw() {
  const range = energyRange();
  const config = { displaylogo: false, responsive: true, doubleClick: "reset",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const shape = layout(range);
  if (!range) {
    shape.annotations = [{ text: `No point has an accuracy on the ${state.split} split here.`, showarrow: false,
      xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: css("--soft"), size: 15 } }];
  }
  Plotly.react(plot, traces(), shape, config);
  if (!drawn) listenToPlot();
  drawn = true;
  ring();
}

// Two rings: around the point under the keyboard, and around the chosen one.
function ring() {
  if (!drawn) return;
  const last = plot.data.length;
  const places = [state.chosen, state.current].map((i) => (i !== null && isDrawn(i) ? [i] : []));
  places[1] = plot.contains(document.activeElement) || document.activeElement?.dataset?.p ? places[1] : [];
  Plotly.restyle(plot, { x: places.map((p) => p.map((i) => points.energy_pj[i] / unit.scale)),
    y: places.map((p) => p.map((i) => 100 * mean(i))) }, [last - 2, last - 1]);
}

function listenToPlot() {
  plot.on("plotly_click", (event) => {
    const i = event.points[0]?.customdata;
    if (i !== undefined) choose(i);
  });
  plot.on("plotly_hover", () => plot.classList.add("over-point"));
  plot.on("plotly_unhover", () => plot.classList.remove("over-point"));
  plot.on("plotly_relayout", (what) => {
    if (!("xaxis.range[0]" in what) && !("xaxis.range" in what) && !("xaxis.autorange" in what)) return;
    const ticks = logTicks(...plot.layout.xaxis.range.map((v) => 10 ** v));
    Plotly.relayout(plot, { "xaxis.tickvals": ticks, "xaxis.ticktext": ticks.map((v) => String(Number(v.toPrecision(3)))) });
  });
  plot.addEventListener("focus", () => {
    if (state.current === null || !isDrawn(state.current)) change({ current: walk()[0] ?? null });
    else ring();
    if (state.current !== null) byId("spoken").textContent = spokenText(state.current);
  });
  plot.addEventListener("blur", () => setTimeout(ring));
  plot.addEventListener("keydown", (event) => walkWithKeys(event, (i) => change({ current: i })));
}

listeners.push((parts) => {
  if (parts.some((part) => ["hardware", "split", "hidden", "theme"].includes(part))) draw();
  else ring();
});
