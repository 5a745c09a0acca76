// The chosen point: where its energy goes, layer by layer, and the formats of every edge.
const panel = byId("chosen");
let stackBy = "components";

function choose(i) {
  change({ current: i, chosen: i });
  byId("details").scrollIntoView({ block: "start" });
}

function close() {
  if (state.chosen === null) return;
  const row = rows.get(state.chosen);
  const inside = panel.contains(document.activeElement);
  change({ chosen: null });
  if (inside && row && !row.hidden) row.focus();
}

function fact(list, name, value) {
  const box = make("div");
  box.append(make("dt", "", name), make("dd", "", value));
  list.append(box);
}

function cell(row, text, numeric) {
  const box = make("td", numeric ? "n" : "", text);
  row.append(box);
  return box;
}

function headings(names) {
  const head = make("thead");
  const row = make("tr");
  for (const [name, numeric] of names) {
    const box = make("th", numeric ? "n" : "");
    box.append(name);
    box.scope = "col";
    row.append(box);
  }
  head.append(row);
  return head;
}

function rowHeading(text) {
  const box = make("th", "", text);
  box.scope = "row";
  return box;
}

// "moons:dram" is "DRAM" for people (front_energy.py component_text).
function componentText(name) {
  const [prefix, ...rest] = name.split(":");
  const text = rest.length && ["moons", "level", "tta"].includes(prefix) ? rest.join(":") : name;
  return text.toLowerCase() === "dram" ? "DRAM" : text;
}

function partName(kind, place) {
  const name = report.details[kind][place].name;
  return kind === "components" ? componentText(name) : name === "none" ? "no tensor" : name;
}

// Energies of one point as rows of layers, each an array over components or tensors.
function layersOf(detail, kind) {
  const side = kind === "components" ? 0 : 1;
  const width = detail.k.length;
  const places = detail.k.map((k) => report.details.keys[k][side]);
  return report.details.names[detail.n].map((name, l) => {
    const parts = new Array(report.details[kind].length).fill(0);
    places.forEach((place, k) => { parts[place] += detail.e[l * width + k] * detail.u; });
    return { name, parts, energy: parts.reduce((a, b) => a + b, 0) };
  });
}

// Parts in order of their energy over all layers, so that every bar is stacked alike.
function order(layers) {
  const sums = layers.reduce((all, layer) => all.map((v, k) => v + layer.parts[k]), layers[0].parts.map(() => 0));
  return sums.map((energy, k) => ({ k, energy })).filter((one) => one.energy > 0).sort((a, b) => b.energy - a.energy);
}

function bar(parts, shown, whole, kind) {
  const box = make("div", "stack");
  for (const { k } of shown) {
    if (!parts[k]) continue;
    const piece = make("i");
    piece.style.width = `${(100 * parts[k]) / whole}%`;
    piece.style.background = report.details[kind][k].color;
    piece.title = `${partName(kind, k)}: ${energyText(parts[k])}`;
    box.append(piece);
  }
  return box;
}

function key(shown, kind) {
  const list = make("ul", "key");
  for (const { k, energy } of shown) {
    const item = make("li");
    const patch = make("i", "patch");
    patch.style.background = report.details[kind][k].color;
    item.append(patch, `${partName(kind, k)} ${energyText(energy)}`);
    list.append(item);
  }
  return list;
}

function wrapped(element) {
  const box = make("div", "scroll");
  box.append(element);
  return box;
}

function tensorHeading(t) {
  const box = make("span");
  const patch = make("i", "patch");
  patch.style.background = report.details.tensors[t].color;
  box.append(patch, partName("tensors", t));
  return box;
}

// Component against tensor: the whole network in one small table, each row with its tensors as a bar.
function matrix(detail) {
  const width = detail.k.length;
  const sums = detail.k.map((_, k) => detail.e.reduce((sum, e, at) => (at % width === k ? sum + e * detail.u : sum), 0));
  const whole = sums.reduce((a, b) => a + b, 0);
  const rank = (side) => {
    const totals = new Map();
    detail.k.forEach((k, at) => {
      const place = report.details.keys[k][side];
      totals.set(place, (totals.get(place) ?? 0) + sums[at]);
    });
    return [...totals].filter(([, e]) => e > 0).sort((a, b) => b[1] - a[1]);
  };
  const [components, tensors] = [rank(0), rank(1)];
  const shown = tensors.map(([k, energy]) => ({ k, energy }));
  const most = components[0][1];
  const grid = make("table", "matrix");
  grid.append(make("caption", "", "Energy by component and tensor"),
    headings([["Component", false], ["By tensor", false], ...tensors.map(([t]) => [tensorHeading(t), true]), ["Sum", true], ["Share", true]]));
  const inside = make("tbody");
  for (const [c, total] of components) {
    const row = make("tr");
    row.append(rowHeading(partName("components", c)));
    const box = cell(row, "", false);
    box.className = "bar-cell";
    const parts = new Array(report.details.tensors.length).fill(0);
    for (const [t] of tensors) {
      const at = detail.k.findIndex((k) => report.details.keys[k][0] === c && report.details.keys[k][1] === t);
      if (at >= 0) parts[t] = sums[at];
      cell(row, at < 0 || sums[at] === 0 ? "" : energyText(sums[at]), true);
    }
    box.append(bar(parts, shown, most, "tensors"));
    cell(row, energyText(total), true);
    cell(row, percentText(total / whole), true);
    inside.append(row);
  }
  grid.append(inside);
  return wrapped(grid);
}

// Where every loop of a layer runs: one block per group of equal layers, closed until asked for.
function mappings(detail) {
  const pools = report.details;
  const box = make("div", "mappings");
  box.append(make("h4", "", "Mappings"));
  if (detail.p === null) {
    box.append(make("p", "soft", `Loop nests of ${pools.nests_left_out} points are left out to keep this page small; the study has them.`));
    return box;
  }
  const names = pools.names[detail.n];
  for (const one of detail.p) {
    const block = make("details");
    const layers = one.l.map((l) => names[l]);
    const said = layers.length > 4 ? `${layers.slice(0, 3).join(", ")} and ${layers.length - 3} like them` : layers.join(", ");
    const proof = one.c.split(":")[0];
    block.append(make("summary", "", `${said}: units busy ${percentText(one.u)}, bound by ${one.b}, ${proof}`));
    if (layers.length > 4) block.append(make("p", "soft", layers.join(", ")));
    const nest = make("pre", "nest", pools.nests[one.n]);
    nest.tabIndex = 0;
    block.append(nest, make("p", "soft", one.c));
    box.append(block);
  }
  return box;
}

function layerTable(detail) {
  const pools = report.details;
  const layers = layersOf(detail, stackBy);
  const shown = order(layers);
  const most = Math.max(...layers.map((layer) => layer.energy));
  const whole = layers.reduce((sum, layer) => sum + layer.energy, 0);
  const edges = detail.f.map((place) => pools.edges.rows[place].map((text) => pools.edges.texts[text]));
  const grid = make("table", "layers");
  grid.append(make("caption", "unseen", "Layers of the chosen point"), headings([["Layer", false], ["Where its energy goes", false],
    ["Energy", true], ["Share", true], ["MACs", true], ["Cycles", true], ["Weights", false], ["Input", false], ["Output", false]]));
  const inside = make("tbody");
  layers.forEach((layer, l) => {
    const row = make("tr");
    const heading = rowHeading(layer.name);
    const kind = pools.kinds[detail.t][l];
    if (kind) heading.append(" ", make("small", "", kind));
    row.append(heading);
    const box = cell(row, "", false);
    box.className = "bar-cell";
    box.append(bar(layer.parts, shown, most, stackBy));
    cell(row, energyText(layer.energy), true);
    cell(row, percentText(layer.energy / whole), true);
    cell(row, countText(pools.macs[detail.m][l]), true);
    cell(row, countText(pools.cycles[detail.c][l]), true);
    for (const side of edges) cell(row, "", false).append(side[l] ? make("code", "", side[l]) : UNKNOWN);
    inside.append(row);
  });
  const foot = make("tfoot");
  const sum = make("tr");
  sum.append(rowHeading(`${layers.length} layers`));
  cell(sum, "", false);
  cell(sum, energyText(whole), true);
  cell(sum, "", true);
  cell(sum, countText(pools.macs[detail.m].reduce((a, b) => a + (b ?? 0), 0)), true);
  cell(sum, countText(pools.cycles[detail.c].reduce((a, b) => a + (b ?? 0), 0)), true);
  for (let k = 0; k < 3; k += 1) cell(sum, "", false);
  foot.append(sum);
  grid.append(inside, foot);
  return [key(shown, stackBy), wrapped(grid)];
}

function stackSwitch(redraw) {
  const box = make("div", "stack-by");
  const group = make("span", "switch");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Stack the bars by");
  for (const [kind, text] of [["components", "Component"], ["tensors", "Tensor"]]) {
    const button = make("button", "", text);
    button.type = "button";
    button.setAttribute("aria-pressed", String(kind === stackBy));
    button.addEventListener("click", () => {
      stackBy = kind;
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      redraw();
    });
    group.append(button);
  }
  box.append("Bars stacked by", group);
  return box;
}

function show(i) {
  const title = make("div", "title");
  const name = make("h3");
  name.append(swatch(points.family[i]), ` ${points.label[i]}`);
  const button = make("button", "close", "Close (Esc)");
  button.type = "button";
  button.addEventListener("click", close);
  title.append(name, button);
  const facts = make("dl", "facts");
  const seeds = points.validation_seeds[i] > 1 ? ` (${points.validation_seeds[i]} seeds)` : "";
  const tests = points.test_seeds[i] > 1 ? ` (${points.test_seeds[i]} seeds)` : "";
  fact(facts, "Validation", accuracyText(points.validation_mean[i], points.validation_sd[i]) + seeds);
  fact(facts, "Test", points.test_mean[i] === null ? "not measured" : accuracyText(points.test_mean[i], points.test_sd[i]) + tests);
  fact(facts, "Energy of one inference", energyText(points.energy_pj[i]));
  fact(facts, "DRAM share", percentText(points.dram_share[i]));
  fact(facts, "Weights", sizeText(points.weight_bits[i]));
  fact(facts, "MACs", countText(points.macs[i]));
  fact(facts, "Cycles", countText(points.latency_cycles[i]));
  fact(facts, "Scheme", points.scheme[i]);
  fact(facts, "Hardware", report.hardware[points.hardware[i]]);
  if (points.reason[i]) fact(facts, points.status[i], points.reason[i]);
  panel.replaceChildren(title, facts);
  const detail = report.details.of_point[i];
  if (!detail || !detail.e.length) {
    const many = report.details.left_out > 0 ? " In a study of this size only the fronts and the points nearest to them carry layers." : "";
    panel.append(make("p", "soft", `No layers are stored for this point.${many}`));
    return;
  }
  const layers = make("div");
  const redraw = () => layers.replaceChildren(...layerTable(detail));
  redraw();
  panel.append(matrix(detail), stackSwitch(redraw), layers);
  if (detail.p !== undefined) panel.append(mappings(detail));
  for (const note of report.details.notes[detail.o]) panel.append(make("p", "soft", `Note: ${note}`));
}

listeners.push((parts) => {
  if (!parts.includes("chosen")) return;
  panel.hidden = state.chosen === null;
  byId("nothing-chosen").hidden = state.chosen !== null;
  if (state.chosen === null) panel.replaceChildren();
  else show(state.chosen);
});
panel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});
