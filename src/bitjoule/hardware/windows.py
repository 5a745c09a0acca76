"""Plausible ranges [assumed]: a number outside one is usually in another unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bitjoule.hardware.fault import Fault, Path, is_number, path_text, shown, value_at
from bitjoule.hardware.schema import CyclePrices

__all__ = ["WINDOWS", "Window", "window_faults"]


@dataclass(frozen=True)
class Window:
    """`smaller`, `larger`: the units that a number above, or below, the range is probably in."""

    path: Path
    low: float
    high: float
    unit: str
    smaller: str | None = None
    larger: str | None = None


WINDOWS: tuple[Window, ...] = (
    Window(("technology", "node_nm"), 3, 250, "nm"),
    Window(("technology", "freq_mhz"), 1, 10_000, "MHz", "kHz or Hz", "GHz"),
    Window(("moons", "e_mac16_pj"), 1e-4, 100, "pJ per MAC", "fJ", "nJ"),
    *(
        Window(("tta", "e_cycle_pj", name), 1e-2, 10_000, "pJ per cycle", "fJ", "nJ")
        for name in CyclePrices.model_fields
    ),
    Window(("tta", "e_overhead_pj"), 1e-2, 10_000, "pJ per cycle", "fJ", "nJ"),
    Window(("tta", "dram_pj_per_bit"), 1, 200, "pJ per bit", "fJ", "nJ"),
    Window(("mac", "anchor_pj"), 1e-4, 100, "pJ per MAC", "fJ", "nJ"),
)

SRAM = Window((), 1e-4, 100, "pJ per bit", "fJ", "nJ")
DRAM = Window((), 1, 200, "pJ per bit", "fJ", "nJ")
PRICES = ("read_pj", "read_pj_per_bit", "write_pj", "write_pj_per_bit", "update_pj")


def window_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """Numbers outside their range; zero and what is no number are other checks' business."""
    for window in WINDOWS:
        value = value_at(document, window.path)
        if is_number(value) and value > 0 and not window.low <= value <= window.high:
            yield _fault(window, window.path, value, value)
    levels = document.get("levels")
    for index in range(len(levels) if isinstance(levels, list) else 0):
        yield from _level_faults(document, ("levels", index))


def _level_faults(document: Mapping[str, object], path: Path) -> Iterator[Fault]:
    """Prices of one level, per bit; an outermost memory without bound is DRAM."""
    width = value_at(document, (*path, "width_bits"))
    dram = path[-1] == 0 and value_at(document, (*path, "size_bits")) == "unbounded"
    window = DRAM if dram else SRAM
    for key in PRICES:
        value = value_at(document, (*path, key))
        if key.endswith("_pj"):
            per_bit = value / width if is_number(value) and is_number(width) and width > 0 else None
        else:
            per_bit = value
        if is_number(per_bit) and per_bit > 0 and not window.low <= per_bit <= window.high:
            yield _fault(window, (*path, key), value, per_bit)


def _fault(window: Window, path: Path, value: float, measured: float) -> Fault:
    other = window.smaller if measured > window.high else window.larger
    hint = f"; is it in {other}?" if other else ";"
    usual = f"{window.low:g}..{window.high:g} {window.unit}"
    also = "" if measured == value else f" ({measured:.6g} {window.unit})"
    text = f"{path_text(path)} = {shown(value)}{also} is outside {usual}{hint}"
    return Fault(path, f"{text} (set allow_unusual: true to keep it)")
