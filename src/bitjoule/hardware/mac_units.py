"""Energy of one multiply-accumulate as a function of both Formats.

A unit is an anchor (one INT8 x INT8 MAC with its registers), a table of energies relative to it, and a rule
for operands of different widths. The table is data: a format without a row is an error, never a default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from bitjoule.formats import Format

__all__ = [
    "DOT32",
    "INT8_ANCHORS",
    "Anchor",
    "MacUnit",
    "MixedRule",
    "ShiftAdd",
    "add_pj",
    "integer_width",
    "mac_energy_pj",
    "mul_pj",
    "row_name",
    "shift_add_pj",
    "takes_shift_add",
]

MixedRule = Literal["max", "geomean", "composable", "serial_weights"]

DOT32: Mapping[str, float] = MappingProxyType(
    {
        "BIPOLARxBIPOLAR": 0.038,
        "INT2xINT2": 0.141,
        "INT4xINT4": 0.366,
        "INT8xINT8": 1.0,
        "INT16xINT16": 2.96,
        "POT4xINT4": 0.323,
        "SPOT2xINT8": 0.776,
        "FP16xFP16": 1.89,
    }
)
"""Dot-product units on 32-bit words, registers included [measured: gates, Nangate 45 nm, random data]."""

BRICK_BITS, COMPOSABLE_BITS, COMPOSABLE_RELATIVE = 2, 8, 0.689 / 0.344
"""Bit Fusion: 2-bit bricks, 8-bit unit, 0.689 pJ for 0.344 of a fixed unit [published]; split [derived]."""


@dataclass(frozen=True)
class Anchor:
    """A published or measured energy of one INT8 x INT8 MAC."""

    name: str
    energy_pj: float
    status: Literal["published", "measured", "derived"]
    cite: str


INT8_ANCHORS: tuple[Anchor, ...] = (
    Anchor("bitfusion45", 0.344, "published", "Bit Fusion fixed unit, 45 nm 500 MHz, synthesis table"),
    Anchor("horowitz45", 0.3, "published", "Horowitz ISSCC 2014, 45 nm: mul8 0.2 + add32 0.1, no registers"),
    Anchor("timeloop45", 0.315, "published", "Timeloop example ERT (Simba), mul8 and add16"),
    Anchor("timeloop32", 0.207692, "published", "Timeloop example ERT (Eyeriss), mul8 and add16"),
    Anchor("nangate45", 1.362, "measured", "gate level, Nangate 45 nm 1.1 V, with registers"),
    Anchor("braintta22", 0.357, "derived", "fit to BrainTTA, 22 nm (arXiv 2211.11331)"),
)
"""Anchors to choose by technology; 0.344 pJ is the default at 45 nm."""


@dataclass(frozen=True)
class ShiftAdd:
    """Run-time weights of k terms: k shifters of the input's width, k adders of the accumulator's.

    Prices in pJ per bit of width. At 45 nm the published fit of an addition is 0.003125 (`add_pj`), and a
    shift is half an addition [assumed, as in element operations].
    """

    shift_pj_per_bit: float
    add_pj_per_bit: float


@dataclass(frozen=True)
class MacUnit:
    """One kind of multiplier-accumulator.

    `relative` maps "WEIGHTxACTIVATION" rows to energies relative to `anchor_pj`; "qkeras" is the fit of
    google/qkeras at 45 nm, which overstates the gain of few bits (its exponent is 2, measured units have
    1.37 to 1.55 per doubling); "constant" is the anchor whatever the Formats, as in imported designs.
    `psum_bits` is the width of the addition of "qkeras", and of `shift_add` where no other is given.
    `shift_add`: prices for weights of gates and shifts (TERNARY, POT, APOT, SPOT, SVA) whose pair has no row;
    None: they are refused, or TERNARY priced as 2-bit integers.
    """

    anchor_pj: float
    relative: Mapping[str, float] | Literal["qkeras", "constant"] = field(default_factory=lambda: DOT32)
    mixed: MixedRule = "max"
    psum_bits: int = 32
    shift_add: ShiftAdd | None = None


def mac_energy_pj(
    unit: MacUnit,
    weight: Format,
    activation: Format,
    *,
    terms: float | None = None,
    accumulator_bits: int | None = None,
) -> float:
    """Energy in pJ of one MAC of `unit` on these operands.

    `terms` (mean signed powers of two per weight, None: not measured) and `accumulator_bits` (None: those of
    the unit) are read for shifts and adds only.

    Raises:
        ValueError: a format, or a pair of formats, without a row in the unit's table; an irregular format
            priced by shifts and adds whose terms were not measured.

    >>> from bitjoule.formats import parse_format
    >>> round(mac_energy_pj(MacUnit(0.344), parse_format("INT4"), parse_format("INT4")), 6)
    0.125904
    """
    if unit.relative == "constant":
        return unit.anchor_pj
    if takes_shift_add(unit, weight, activation):
        return shift_add_pj(unit, weight, activation, terms=terms, accumulator_bits=accumulator_bits)
    if isinstance(unit.relative, str):
        wider = max(_integer_bits(unit, weight, activation))
        return mul_pj(wider) + add_pj(unit.psum_bits)
    pair = _own_row(unit, weight, activation)
    if pair is not None:
        return unit.anchor_pj * pair
    b_w, b_a = _integer_bits(unit, weight, activation)
    if unit.mixed == "composable":
        if max(b_w, b_a) > COMPOSABLE_BITS:
            raise ValueError(
                f"a composable unit takes 1 to 8 bits, not {weight.name} x {activation.name}; "
                "choose mixed: max or geomean for wider operands"
            )
        bricks = math.ceil(b_w / BRICK_BITS) * math.ceil(b_a / BRICK_BITS)
        return unit.anchor_pj * COMPOSABLE_RELATIVE * bricks / (COMPOSABLE_BITS // BRICK_BITS) ** 2
    if unit.mixed == "serial_weights":
        return b_w * unit.anchor_pj * _at(unit.relative, b_a, weight, activation) / b_a
    if unit.mixed == "geomean":
        product = _at(unit.relative, b_w, weight, activation) * _at(unit.relative, b_a, weight, activation)
        return unit.anchor_pj * math.sqrt(product)
    return unit.anchor_pj * _at(unit.relative, max(b_w, b_a), weight, activation)


def takes_shift_add(unit: MacUnit, weight: Format, activation: Format) -> bool:
    """Whether `unit` prices this pair by shifts and adds: it can, the pair has no row of its own, the weights
    need no multiplier, and the activations are whole numbers.

    >>> from bitjoule.formats import parse_format
    >>> unit, pot4 = MacUnit(0.344, shift_add=ShiftAdd(0.0015625, 0.003125)), parse_format("POT4")
    >>> [takes_shift_add(unit, pot4, parse_format(name)) for name in ("INT8", "INT4", "FP16")]  # INT4: a row
    [True, False, False]
    """
    if (
        unit.shift_add is None
        or unit.relative == "constant"
        or _own_row(unit, weight, activation) is not None
    ):
        return False
    whole = activation.kind in ("integer", "levels")
    return whole and weight.traits().multiplier in ("gate", "shift", "shift_add")


def shift_add_pj(
    unit: MacUnit,
    weight: Format,
    activation: Format,
    *,
    terms: float | None = None,
    accumulator_bits: int | None = None,
) -> float:
    """Energy in pJ of one MAC as terms * (shift of the input's width + add of the accumulator's).

    The terms are the measured ones, else the most of a regular format. A gated weight (TERNARY) is one add.

    Raises:
        ValueError: the unit has no such prices; an irregular format (SVA) without measured terms.

    >>> from bitjoule.formats import parse_format
    >>> unit = MacUnit(0.344, shift_add=ShiftAdd(0.0015625, 0.003125))
    >>> round(shift_add_pj(unit, parse_format("SPOT2"), parse_format("INT8"), accumulator_bits=24), 6)
    0.175
    """
    prices = unit.shift_add
    if prices is None:
        raise _no_row(unit.relative, weight, activation)
    traits = weight.traits()
    add = prices.add_pj_per_bit * (unit.psum_bits if accumulator_bits is None else accumulator_bits)
    if traits.multiplier == "gate":
        return add
    if terms is None and not traits.regular:
        raise ValueError(
            f"no energy for a MAC of {weight.name} x {activation.name}: the terms of {weight.name} depend on "
            "the weights and were not measured; price bitjoule.quant.measured_workload(net) of the quantized "
            "network, or set weight_terms of its layers"
        )
    count = traits.max_terms if terms is None else terms
    return count * (prices.shift_pj_per_bit * activation.traits().level_bits + add)


def add_pj(bits: float) -> float:
    """Integer addition at 45 nm [published fit, google/qkeras]."""
    return 0.003125 * bits


def mul_pj(bits: float) -> float:
    """Integer multiplication at 45 nm [published fit, google/qkeras].

    >>> round(mul_pj(16), 4), round(mul_pj(4), 4)
    (0.7833, 0.0521)
    """
    return 0.002994791667 * bits * bits + 0.001041666667 * bits


_UNIFORM = re.compile(r"(?:U?INT|MOONS|MIDRISE)([0-9]+)(?:_NARROW|_RELU)?")


def integer_width(format_: Format) -> int | None:
    """Width of a format that a plain integer unit takes, None for any other.

    >>> from bitjoule.formats import parse_format
    >>> integer_width(parse_format("UINT4")), integer_width(parse_format("TERNARY"))
    (4, 2)
    """
    if format_.name == "BIPOLAR":
        return 1
    if format_.name == "TERNARY":
        return 2
    match = _UNIFORM.fullmatch(format_.name)
    return int(match[1]) if match else None


def row_name(weight: Format, activation: Format) -> str:
    """The table row of a pair: signed, unsigned, narrow and MOONS formats of one width share a row.

    >>> from bitjoule.formats import parse_format
    >>> row_name(parse_format("INT4_NARROW"), parse_format("UINT8"))
    'INT4xINT8'
    """
    return f"{_half_name(weight)}x{_half_name(activation)}"


def _half_name(format_: Format) -> str:
    bits = integer_width(format_)
    return format_.name if bits is None else "BIPOLAR" if bits == 1 else f"INT{bits}"


def _own_row(unit: MacUnit, weight: Format, activation: Format) -> float | None:
    """The relative energy that the table gives this very pair; rules for mixed widths stand above rows."""
    if isinstance(unit.relative, str):
        return None
    plain = integer_width(weight) is not None and integer_width(activation) is not None
    if plain and unit.mixed not in ("max", "geomean"):
        return None
    return unit.relative.get(row_name(weight, activation))


def _integer_bits(unit: MacUnit, weight: Format, activation: Format) -> tuple[int, int]:
    b_w, b_a = integer_width(weight), integer_width(activation)
    if b_w is None or b_a is None:
        raise _no_row(unit.relative, weight, activation)
    return b_w, b_a


def _square_rows(relative: Mapping[str, float]) -> dict[int, float]:
    """bits -> relative energy, of the rows with two integer operands of one width."""
    rows = {}
    for name, value in relative.items():
        match = re.fullmatch(r"(BIPOLAR|INT[0-9]+)x\1", name)
        if match:
            rows[1 if match[1] == "BIPOLAR" else int(match[1][3:])] = value
    return rows


def _at(relative: Mapping[str, float], bits: int, weight: Format, activation: Format) -> float:
    """rel(b): the row, or exp(linear in (log2 b, ln rel)) between its neighbours [derived]."""
    rows = _square_rows(relative)
    if bits in rows:
        return rows[bits]
    below, above = [b for b in rows if b < bits], [b for b in rows if b > bits]
    if not below or not above:
        raise _no_row(relative, weight, activation)
    low, high = max(below), min(above)
    share = math.log(bits / low) / math.log(high / low)
    return math.exp((1 - share) * math.log(rows[low]) + share * math.log(rows[high]))


def _no_row(relative: Mapping[str, float] | str, weight: Format, activation: Format) -> ValueError:
    has = relative if isinstance(relative, str) else ", ".join(relative)
    row = row_name(weight, activation)
    return ValueError(
        f"no energy for a MAC of {weight.name} x {activation.name} (rows: {has}); "
        f'add a row under mac.relative of the hardware YAML, such as {{"{row}": 1.5}}'
    )
