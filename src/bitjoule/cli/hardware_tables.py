"""Hardware of kind `hierarchy` for people: its levels as a table, and where every number comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitjoule.cli.output import print_table

if TYPE_CHECKING:
    from bitjoule.hardware import Hardware, LevelSection, Provenance

__all__ = ["hierarchy_json", "print_hierarchy"]

COLUMNS = {
    "level": "left",
    "keeps": "left",
    "KiB": "right",
    "word": "right",
    "access": "right",
    "read pJ": "right",
    "write pJ": "right",
    "pJ/bit": "right",
    "words/cy": "right",
    "fan-out": "left",
    "count": "right",
}


def print_hierarchy(hardware: Hardware, *, no_color: bool = False) -> None:
    """Levels outermost first, then every number that the file gives with its source, then the sources.

    `keeps` by first letters (weights, inputs, outputs), sizes per instance, `word` and `access` in bits,
    words per cycle read / written, `count` of instances.
    """
    rows: list[tuple[object, ...]] = []
    for index, level in enumerate(hardware.levels):
        instances = math.prod(outer.fanout.size for outer in hardware.levels[:index])
        rows.append(_row(level, instances))
    if hardware.mac is not None:
        anchor = "-" if hardware.mac.anchor_pj is None else f"{hardware.mac.anchor_pj:.6g}"
        rows.append(("mac", "", "", "", "", anchor, "", "", "", "", hardware.mac.count))
    technology = hardware.technology
    at = "" if technology is None else f", {technology.node_nm:g} nm {technology.vdd_v:g} V"
    at += "" if technology is None else f" {technology.freq_mhz:g} MHz"
    title = (
        f"{hardware.name} ({hardware.kind}{at}), psum_bits {hardware.psum_bits}, packing {hardware.packing}"
    )
    print_table(title, COLUMNS, rows, no_color=no_color)
    sourced = [
        (key, _text(entry["value"]), entry["status"], entry["source"])
        for key, entry in _numbers(hardware).items()
        if entry["given"]
    ]
    print_table(
        "numbers", dict.fromkeys(("key", "value", "status", "source"), "left"), sourced, no_color=no_color
    )
    for name, provenance in hardware.provenance.items():
        print(f"{name} ({provenance.status}): {provenance.cite}")
    for warning in hardware.warnings:
        print(f"warning: {warning}")
    print(hardware.hash)


def hierarchy_json(hardware: Hardware) -> dict[str, object]:
    """Every number with value, source, status and citation, and the warnings; empty for other kinds."""
    if hardware.kind != "hierarchy":
        return {}
    return {"numbers": _numbers(hardware), "warnings": list(hardware.warnings)}


def _row(level: LevelSection, instances: int) -> tuple[object, ...]:
    fanout = " x ".join(
        f"{axis.size} {''.join(axis.dims)}" for axis in (level.fanout.x, level.fanout.y) if axis.size > 1
    )
    if not level.stores:
        return (level.name, "(fan-out)", "", "", "", "", "", "", "", fanout, instances)
    size = level.size_bits
    bandwidths = (level.read_words_per_cycle, level.write_words_per_cycle)
    return (
        level.name,
        " ".join(tensor[0].upper() for tensor in level.keeps),
        f"{size / 8192:.4g}" if isinstance(size, int) else "unbounded",
        level.word_bits,
        level.width_bits,
        f"{level.read_energy_pj:.6g}",
        f"{level.write_energy_pj:.6g}",
        f"{level.read_energy_pj / (level.width_bits or 1):.4g}",
        "any"
        if bandwidths == (None, None)
        else " / ".join("-" if b is None else f"{b:g}" for b in bandwidths),
        fanout or "-",
        instances,
    )


def _numbers(hardware: Hardware) -> dict[str, dict[str, Any]]:
    """key -> value, whether the file gives it, name of the source ("default" where it does not), citation."""
    names = {id(provenance): name for name, provenance in hardware.provenance.items()}
    found: dict[str, dict[str, Any]] = {}
    for key in hardware.keys:
        section, last = _section(hardware, key)
        provenance: Provenance = hardware.source_of(key)
        found[key] = {
            "value": _plain(getattr(section, last)),
            "given": last in section.model_fields_set,
            "source": names.get(id(provenance), "default"),
            "status": provenance.status,
            "cite": provenance.cite,
        }
    return found


def _section(hardware: Hardware, key: str) -> tuple[Any, str]:
    """The object that holds a dotted key, and the key's name in it."""
    place, _, last = key.rpartition(".")
    if place.startswith("levels."):
        return hardware.level(place.removeprefix("levels.")), last
    return (getattr(hardware, place) if place else hardware), last


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump else list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(child)}" for key, child in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return (
        f"{value:.8g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
