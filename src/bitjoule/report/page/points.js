// The table of all points: sorting, one row in the tab order, arrow keys along the front.
const table = document.querySelector("table.points");
const body = table.tBodies[0];
const rows = new Map([...body.rows].map((row) => [Number(row.dataset.p), row]));
let sorted = { key: "rank", down: false };

function visibleRows() {
  return [...body.rows].filter((row) => !row.hidden);
}

// The row of the current point (or the first one) is the table's only stop of the Tab key.
function rove() {
  const shown = visibleRows();
  const current = rows.get(state.current);
  const stop = current && !current.hidden ? current : shown[0];
  for (const row of body.rows) row.tabIndex = row === stop ? 0 : -1;
}

function filterRows() {
  for (const [i, row] of rows) row.hidden = !isShown(i);
  rove();
}

function markChosen() {
  for (const [i, row] of rows) {
    row.classList.toggle("chosen", i === state.chosen);
    row.setAttribute("aria-selected", String(i === state.chosen));
  }
}

function compare(key, down) {
  const column = points[key];
  return (a, b) => {
    const [x, y] = [column[a], column[b]];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    return (down ? -order : order) || (points.energy_pj[a] ?? 0) - (points.energy_pj[b] ?? 0) || a - b;
  };
}

function sortRows(key) {
  sorted = { key, down: sorted.key === key ? !sorted.down : key.endsWith("_mean") };
  const order = [...rows.keys()].sort(compare(sorted.key, sorted.down));
  body.append(...order.map((i) => rows.get(i)));
  for (const heading of table.tHead.rows[0].cells) {
    if (heading.dataset.key === sorted.key) heading.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
}

// Left and right walk along the front; Enter chooses; Escape closes. `go` takes the walker to a point.
function walkWithKeys(event, go) {
  const front = walk();
  const target = {
    ArrowRight: () => alongFront(state.current, 1), ArrowLeft: () => alongFront(state.current, -1),
    ArrowUp: () => alongFront(state.current, 1), ArrowDown: () => alongFront(state.current, -1),
    Home: () => front[0], End: () => front[front.length - 1],
  }[event.key];
  if (target) {
    const i = target() ?? null;
    event.preventDefault();
    if (i === null) return;
    go(i);
    if (state.chosen !== null) change({ chosen: i });
    byId("spoken").textContent = spokenText(i);
  } else if ((event.key === "Enter" || event.key === " ") && state.current !== null) {
    event.preventDefault();
    choose(state.current);
  } else if (event.key === "Escape") {
    event.preventDefault();
    close();
  }
}

function focusRow(row) {
  const i = Number(row.dataset.p);
  if (state.current !== i) change({ current: i });
  row.focus();
}

function keysInTable(event) {
  const row = event.target.closest("tr");
  if (!row) return;
  const shown = visibleRows();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    focusRow(shown[Math.min(shown.length - 1, Math.max(0, shown.indexOf(row) + step))]);
  } else {
    walkWithKeys(event, (i) => focusRow(rows.get(i)));
  }
}

function prepareTable() {
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "All points");
  for (const heading of table.tHead.rows[0].cells) {
    const button = make("button", "", heading.textContent);
    button.type = "button";
    button.addEventListener("click", () => sortRows(heading.dataset.key));
    heading.replaceChildren(button);
    if (heading.dataset.key === sorted.key) heading.setAttribute("aria-sort", "ascending");
  }
  body.addEventListener("keydown", keysInTable);
  body.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr");
    if (row && state.current !== Number(row.dataset.p)) change({ current: Number(row.dataset.p) });
    else ring();
  });
  body.addEventListener("focusout", () => setTimeout(ring));
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !String(getSelection())) choose(Number(row.dataset.p));
  });
}

listeners.push((parts) => {
  if (parts.includes("hardware") || parts.includes("hidden")) filterRows();
  if (parts.includes("current")) rove();
  if (parts.includes("chosen")) markChosen();
});
