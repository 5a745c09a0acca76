// Numbers as people read them; the same rules as report/units.py.
const UNKNOWN = "-";

function three(value) {
  const text = String(Number(value.toPrecision(3)));
  return text.includes("e") && Math.abs(value) >= 1 ? value.toFixed(0) : text;
}

function energyText(pj) {
  if (pj === null) return UNKNOWN;
  const rounded = Number(pj.toPrecision(3));
  for (const [below, scale, unit] of [[1e3, 1, "pJ"], [1e9, 1e6, "uJ"], [1e12, 1e9, "mJ"]]) {
    if (Math.abs(rounded) < below) return `${three(rounded / scale)} ${unit}`;
  }
  return `${three(rounded / 1e12)} J`;
}

function percentText(fraction, digits = 1) {
  return fraction === null ? UNKNOWN : `${(100 * fraction).toFixed(digits)} %`;
}

function accuracyText(mean, sd) {
  if (mean === null) return UNKNOWN;
  return sd === null ? percentText(mean) : `${(100 * mean).toFixed(1)} ± ${(100 * sd).toFixed(1)} %`;
}

function sizeText(bits) {
  if (bits === null) return UNKNOWN;
  let size = bits / 8;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (size < 1024) return `${three(size)} ${unit}`;
    size /= 1024;
  }
  return `${three(size)} GiB`;
}

function countText(number) {
  if (number === null) return UNKNOWN;
  let scaled = Number(number.toPrecision(3));
  for (const unit of ["", " k", " M", " G"]) {
    if (Math.abs(scaled) < 1000) return `${three(scaled)}${unit}`;
    scaled /= 1000;
  }
  return `${three(scaled)} T`;
}
