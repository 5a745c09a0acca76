"""Energy and throughput of the MAC units of a hardware of kind `hierarchy`, by Formats."""

from __future__ import annotations

from bitjoule.formats import Format
from bitjoule.hardware.hierarchy import MacSection
from bitjoule.hardware.mac_units import DOT32, MacUnit, integer_width, mac_energy_pj, row_name
from bitjoule.hardware.schema import Hardware

__all__ = ["mac_energy_of", "mac_unit_of", "macs_per_cycle_of"]

AUTO_PSUM_BITS = 32
"""Width of the addition in the unit `qkeras` where `psum_bits` is auto."""


def mac_unit_of(hardware: Hardware) -> MacUnit:
    """The MacUnit that `hardware.mac` describes.

    Raises:
        ValueError: a hardware of another kind.

    >>> from bitjoule.hardware.load import load
    >>> mac_unit_of(load("eyeriss")).mixed
    'max'
    """
    mac = _section(hardware)
    return MacUnit(
        anchor_pj=mac.anchor_pj or 0.0,
        relative=DOT32 if mac.relative == "dot32" else mac.relative,
        mixed=mac.mixed,
        psum_bits=AUTO_PSUM_BITS if hardware.psum_bits == "auto" else hardware.psum_bits,
    )


def mac_energy_of(hardware: Hardware, weight: Format, activation: Format) -> float:
    """Energy in pJ of one MAC on these operands.

    Raises:
        ValueError: a hardware of another kind, or Formats without a row in the unit's table.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.hardware.load import load
    >>> round(mac_energy_of(load("eyeriss"), parse_format("INT16"), parse_format("INT16")), 4)
    1.1001
    """
    return mac_energy_pj(mac_unit_of(hardware), weight, activation)


def macs_per_cycle_of(hardware: Hardware, weight: Format, activation: Format) -> float:
    """MACs that one unit completes in a cycle on these operands: the row of the pair, else `default`, else 1.

    With `mixed: serial_weights` a unit takes one bit of the weights a cycle, and `default` is its lanes.

    Raises:
        ValueError: a hardware of another kind.
    """
    mac = _section(hardware)
    row = mac.macs_per_cycle.get(row_name(weight, activation))
    if row is not None:
        return row
    bits = (integer_width(weight) or 1) if mac.mixed == "serial_weights" else 1
    return mac.macs_per_cycle.get("default", 1.0) / bits


def _section(hardware: Hardware) -> MacSection:
    if hardware.mac is None:
        raise ValueError(
            f"hardware {hardware.name!r} is of kind {hardware.kind} and describes no MAC units; "
            "take one of kind hierarchy, such as eyeriss or simba"
        )
    return hardware.mac
