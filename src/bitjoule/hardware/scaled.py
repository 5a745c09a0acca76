"""A Hardware carried to another silicon node: on-chip energies scale, DRAM stays."""

from __future__ import annotations

from typing import Any

from bitjoule.hardware.hierarchy_mac import mac_unit_of
from bitjoule.hardware.load import load
from bitjoule.hardware.mac_units import add_pj, mul_pj
from bitjoule.hardware.schema import Hardware
from bitjoule.hardware.technology import DEFAULT_VDD_V, energy_factor
from bitjoule.hardware.windows import window_faults

__all__ = ["scaled"]

LEVEL_PRICES = (
    "read_pj",
    "read_pj_per_bit",
    "write_pj",
    "write_pj_per_bit",
    "update_pj",
    "leak_pj_per_cycle",
    "noc_pj_per_word",
)
QKERAS_ROWS = range(2, 17)


def scaled(hardware: Hardware, node_nm: float, vdd_v: float = DEFAULT_VDD_V) -> Hardware:
    """`hardware` at `node_nm` and `vdd_v`; the clock is kept, every provenance says what was done.

    In kind `hierarchy` the outermost level is the DRAM. MACs of the unit `qkeras` (a fit at 45 nm) become a
    table. Element operations follow `ops.scale_to_node`.

    Raises:
        ValueError: the hardware names no technology, or a node or voltage is outside the fit.

    >>> scaled(load("braintta22"), 16).technology.node_nm
    16.0
    """
    technology = hardware.technology
    if technology is None:
        raise ValueError(
            f"hardware {hardware.name!r} names no technology to scale from; "
            "add technology: {node_nm: ..., vdd_v: ..., freq_mhz: ...}"
        )
    factor = energy_factor(technology.node_nm, node_nm, from_vdd_v=technology.vdd_v, to_vdd_v=vdd_v)
    step = f"{technology.node_nm:g} nm {technology.vdd_v:g} V -> {node_nm:g} nm {vdd_v:g} V, x{factor:.6f}"
    document: dict[str, Any] = hardware.model_dump(by_alias=True, exclude_unset=True)
    document["technology"] = {"node_nm": node_nm, "vdd_v": vdd_v, "freq_mhz": technology.freq_mhz}
    if hardware.moons is not None:
        document["moons"]["e_mac16_pj"] = hardware.moons.e_mac16_pj * factor
        document["moons"]["dram_ratio"] = hardware.moons.dram_ratio / factor  # DRAM words keep their energy
    if hardware.tta is not None:
        document["tta"]["e_cycle_pj"] = {name: price * factor for name, price in hardware.tta.e_cycle_pj}
        document["tta"]["e_overhead_pj"] = hardware.tta.e_overhead_pj * factor
    if hardware.mac is not None:
        document["mac"] = _scaled_mac(hardware, document["mac"], factor)
        document["levels"] = [
            _scaled_level(level, factor) if index else level for index, level in enumerate(document["levels"])
        ]
    document["provenance"] = {
        name: {"status": entry.status, "cite": f"{entry.cite}; scaled on chip, Stillmaker 2017: {step}"}
        for name, entry in hardware.provenance.items()
    }
    if any(True for _ in window_faults(document)):  # computed, so the unit is not in doubt
        document["allow_unusual"] = True
    return load(document)


def _scaled_mac(hardware: Hardware, mac: dict[str, Any], factor: float) -> dict[str, Any]:
    found = {**mac, **{key: mac[key] * factor for key in ("anchor_pj", "leak_pj_per_cycle") if mac.get(key)}}
    if mac.get("shift_add") is not None:
        found["shift_add"] = {key: price * factor for key, price in mac["shift_add"].items()}
    if mac.get("relative") == "qkeras":
        added = add_pj(mac_unit_of(hardware).psum_bits)
        eight = mul_pj(8) + added
        rows = {f"INT{bits}xINT{bits}": (mul_pj(bits) + added) / eight for bits in QKERAS_ROWS}
        rows["BIPOLARxBIPOLAR"] = (mul_pj(1) + added) / eight
        found |= {"anchor_pj": eight * factor, "relative": rows, "mixed": "max"}
    return found


def _scaled_level(level: dict[str, Any], factor: float) -> dict[str, Any]:
    return {**level, **{key: level[key] * factor for key in LEVEL_PRICES if level.get(key) is not None}}
