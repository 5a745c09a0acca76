"""`from_table` of a level: energies looked up in the memory tables, with a provenance of their own.

`{kind: sram, technology: 45}`: the SRAM table, by the size of one bank and the width of an access;
`scale_to_nm` carries the energies on to another node at 0.8 V. `{kind: dram, type: LPDDR4}`: pJ per bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitjoule.hardware.fault import Fault, Path, path_text, shown
from bitjoule.hardware.fields import LARGEST_COUNT
from bitjoule.hardware.memory_tables import dram_pj_per_bit, memory_energy_pj
from bitjoule.hardware.technology import energy_factor

__all__ = ["tables_read"]

KEYS = {"sram": ("kind", "technology", "scale_to_nm"), "dram": ("kind", "type")}
PRICES = ("read_pj", "read_pj_per_bit", "write_pj", "write_pj_per_bit")


def tables_read(document: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """`document` with numbers where levels said `from_table`, and what is wrong with those tables.

    Every table becomes a `provenance` entry of status `derived`, named after level and table. A level whose
    table cannot be read comes back with prices of 0, so that nothing else is said about it.
    """
    levels, provenance = document.get("levels"), document.get("provenance")
    if not isinstance(levels, list) or not any(isinstance(e, dict) and "from_table" in e for e in levels):
        return dict(document), []
    faults: list[Fault] = []
    sources: dict[str, object] = {}
    priced = [
        _priced(level, ("levels", index), sources, faults)
        if isinstance(level, dict) and "from_table" in level
        else level
        for index, level in enumerate(levels)
    ]
    known = provenance if isinstance(provenance, Mapping) else {}
    return {**document, "levels": priced, "provenance": {**known, **sources}}, faults


def _priced(
    level: dict[str, Any], path: Path, sources: dict[str, object], faults: list[Fault]
) -> dict[str, object]:
    kept = {key: value for key, value in level.items() if key != "from_table"}
    path = (*path, "from_table")
    beside = [key for key in PRICES if key in level]
    if beside:
        text = f"{path_text(path)} stands beside {beside[0]}; give numbers or a table, not both"
        faults.append(Fault(path, text))
        return kept
    try:
        prices, cite = _looked_up(level)
    except ValueError as error:
        faults.append(Fault(path, f"{path_text(path)}: {error}"))
        prices, cite = {"read_pj": 0.0, "write_pj": 0.0}, "a table that could not be read"
    name = f"{level.get('name')} table"
    sources[name] = {"status": "derived", "cite": cite}
    named = kept.get("sources")
    own = named if isinstance(named, dict) else {}
    return {
        **kept,
        **prices,
        "source": kept.get("source", name),
        "sources": {**own, **dict.fromkeys(prices, name)},
    }


def _looked_up(level: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """(prices, where they come from).

    Raises:
        ValueError: what is wrong with the table or with the sizes that it needs.
    """
    table = level["from_table"]
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if not isinstance(kind, str) or kind not in KEYS:
        raise ValueError("must be {kind: sram, technology: 45} or {kind: dram, type: LPDDR4}")
    other = [str(key) for key in table if key not in KEYS[kind]]
    if other:
        raise ValueError(f"{other[0]} is not a key of kind {kind} (keys: {', '.join(KEYS[kind])})")
    if kind == "dram":
        per_bit = dram_pj_per_bit(str(table.get("type")))
        prices = {"read_pj_per_bit": per_bit, "write_pj_per_bit": per_bit}
        return prices, f"{table['type']}, {per_bit:g} pJ per bit, hardware/memory_tables.py"
    size, width, banks = (level.get(key, start) for key, start in _SRAM_NEEDS)
    if size == "unbounded":
        raise ValueError("needs size_bits as a whole number > 0, not unbounded")
    if not all(
        isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in (size, width, banks)
    ):
        return {"read_pj": 0.0, "write_pj": 0.0}, "sizes that are faults of their own"
    size, width, banks = (min(value, LARGEST_COUNT) for value in (size, width, banks))
    technology, target = table.get("technology"), table.get("scale_to_nm")
    if not isinstance(technology, int) or isinstance(technology, bool):
        raise ValueError(f"technology must be 65, 45, 28 or 22 nm, not {shown(technology)}")
    read, write = memory_energy_pj(technology, size / banks, width)
    cite = f"CACTI {technology} nm, {size / banks:g} bits, {width} bits an access"
    if target is not None:
        if not isinstance(target, int | float) or isinstance(target, bool):
            raise ValueError(f"scale_to_nm must be a node in nm, not {target!r}")
        factor = energy_factor(float(technology), target)
        read, write, cite = read * factor, write * factor, f"{cite}; to {target:g} nm, x{factor:.6f}"
    return {"read_pj": read, "write_pj": write}, f"{cite}, hardware/memory_tables.py"


_SRAM_NEEDS = (("size_bits", None), ("width_bits", None), ("banks", 1))
