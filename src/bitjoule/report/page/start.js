// The controls, and the first drawing.
const dark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const forced = document.documentElement.dataset.theme;
  return forced ? forced === "dark" : dark.matches;
}

function themeChanged() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  change({ theme: isDark() ? "dark" : "light" });
}

function showHardware() {
  for (const block of document.querySelectorAll("main [data-hardware]")) {
    const other = Number(block.dataset.hardware) !== state.hardware;
    if (block.tagName === "FIGURE") block.toggleAttribute("data-hidden", other);
    else if (block.tagName !== "TR") block.hidden = other;
  }
}

function prepareControls() {
  const select = byId("hardware");
  select.addEventListener("change", () => change({ hardware: Number(select.value), current: null, chosen: null }));
  for (const button of document.querySelectorAll("[data-split]")) {
    button.addEventListener("click", () => change({ split: button.dataset.split }));
  }
  if (points.test_mean.every((v) => v === null)) {
    const button = document.querySelector('[data-split="test"]');
    button.disabled = true;
    button.title = "No point has an accuracy on the test split yet";
  }
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const family = Number(button.dataset.family);
      const hidden = new Set(state.hidden);
      if (!hidden.delete(family)) hidden.add(family);
      button.setAttribute("aria-pressed", String(!hidden.has(family)));
      change({ hidden });
    });
  }
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    themeChanged();
  });
  dark.addEventListener("change", themeChanged);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === document.body) close();
  });
}

listeners.push((parts) => {
  if (parts.includes("hardware")) showHardware();
  for (const button of document.querySelectorAll("[data-split]")) {
    button.setAttribute("aria-pressed", String(button.dataset.split === state.split));
  }
});

document.documentElement.classList.add("js");
prepareTable();
prepareControls();
showHardware();
filterRows();
markChosen();
byId("theme").textContent = isDark() ? "Light" : "Dark";
draw();
for (const figure of document.querySelectorAll("figure.static")) figure.hidden = true;
