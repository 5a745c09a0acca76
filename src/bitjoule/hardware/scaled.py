"""A Hardware carried to another silicon node: on-chip energies scale, DRAM stays."""

from __future__ import annotations

from typing import Any

from bitjoule.hardware.load import load
from bitjoule.hardware.schema import Hardware
from bitjoule.hardware.technology import DEFAULT_VDD_V, energy_factor

__all__ = ["scaled"]


def scaled(hardware: Hardware, node_nm: float, vdd_v: float = DEFAULT_VDD_V) -> Hardware:
    """`hardware` at `node_nm` and `vdd_v`; the clock is kept, every provenance says what was done.

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
    section: dict[str, Any] = document[hardware.kind]
    if hardware.moons is not None:
        section["e_mac16_pj"] = hardware.moons.e_mac16_pj * factor
        section["dram_ratio"] = hardware.moons.dram_ratio / factor  # DRAM words keep their energy
    if hardware.tta is not None:
        section["e_cycle_pj"] = {name: price * factor for name, price in hardware.tta.e_cycle_pj}
        section["e_overhead_pj"] = hardware.tta.e_overhead_pj * factor
    document["provenance"] = {
        name: {"status": entry.status, "cite": f"{entry.cite}; scaled on chip, Stillmaker 2017: {step}"}
        for name, entry in hardware.provenance.items()
    }
    return load(document)
