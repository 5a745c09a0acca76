"""Energy and throughput of the MAC units of a hardware of kind `hierarchy`, by Formats."""

from __future__ import annotations

from bitjoule.formats import Format
from bitjoule.hardware.hierarchy import MacSection
from bitjoule.hardware.mac_units import (
    DOT32,
    MacUnit,
    ShiftAdd,
    integer_width,
    mac_energy_pj,
    row_name,
    takes_shift_add,
)
from bitjoule.hardware.schema import Hardware

__all__ = ["is_shift_add", "mac_energy_of", "mac_unit_of", "macs_per_cycle_of"]

AUTO_PSUM_BITS = 32
"""Width of the addition in the units `qkeras` and `shift_add` where `psum_bits` is auto."""


def mac_unit_of(hardware: Hardware) -> MacUnit:
    """The MacUnit that `hardware.mac` describes.

    Raises:
        ValueError: a hardware of another kind.

    >>> from bitjoule.hardware.load import load
    >>> mac_unit_of(load("eyeriss")).mixed
    'max'
    """
    mac = _section(hardware)
    shift_add = mac.shift_add
    return MacUnit(
        anchor_pj=mac.anchor_pj or 0.0,
        relative=DOT32 if mac.relative == "dot32" else mac.relative,
        mixed=mac.mixed,
        psum_bits=AUTO_PSUM_BITS if hardware.psum_bits == "auto" else hardware.psum_bits,
        shift_add=None
        if shift_add is None
        else ShiftAdd(shift_add.shift_pj_per_bit, shift_add.add_pj_per_bit),
    )


def is_shift_add(hardware: Hardware, weight: Format, activation: Format) -> bool:
    """Whether MACs on these operands are priced by `mac.shift_add`.

    Raises:
        ValueError: a hardware of another kind.
    """
    return takes_shift_add(mac_unit_of(hardware), weight, activation)


def mac_energy_of(
    hardware: Hardware,
    weight: Format,
    activation: Format,
    *,
    terms: float | None = None,
    accumulator_bits: int | None = None,
) -> float:
    """Energy in pJ of one MAC on these operands.

    `terms` per weight as measured, and `accumulator_bits` (None: psum_bits), matter to `mac.shift_add` only.

    Raises:
        ValueError: a hardware of another kind, Formats without a row in the unit's table, or irregular ones
            whose terms were not measured.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.hardware.load import load
    >>> round(mac_energy_of(load("eyeriss"), parse_format("INT16"), parse_format("INT16")), 4)
    1.1001
    """
    unit = mac_unit_of(hardware)
    return mac_energy_pj(unit, weight, activation, terms=terms, accumulator_bits=accumulator_bits)


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
