"""Sections of kind `hierarchy`: MAC units under a stack of memories and fan-outs (energy.md 4.1).

Levels stand outermost first. A level's fan-out leads to the level below it, the innermost level's to the MAC
units. A level that keeps no tensor is a pure fan-out. Energies are pJ, sizes bits, bandwidths words a cycle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bitjoule.hardware.fields import Closed, Count, DefaultSource, Name, NotNegative, Positive, SizeBits

__all__ = [
    "DIMS",
    "FANOUT_KEYS",
    "TENSORS",
    "AxisSection",
    "Dim",
    "FanoutSection",
    "LevelSection",
    "MacSection",
    "OpsSection",
    "PsumBits",
    "ShiftAddSection",
]

DIMS: Final = ("N", "G", "K", "C", "P", "Q", "R", "S")
"""Loop dimensions: batch, groups, output and input channels per group, output and kernel rows and columns."""

TENSORS = ("weights", "inputs", "outputs")
FANOUT_KEYS = ("name", "keeps", "fanout", "fixed_spatial")
"""What a level that keeps nothing may say."""

Tensor = Literal["weights", "inputs", "outputs"]
Dim = Literal["N", "G", "K", "C", "P", "Q", "R", "S"]
Tensors = Annotated[tuple[Tensor, ...], Field(strict=False)]
Dims = Annotated[tuple[Dim, ...], Field(strict=False)]

MAC_ROW = re.compile(r"[A-Z][A-Z0-9_]*x[A-Z][A-Z0-9_]*")


def _psum_bits(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 256
    if not whole and value != "auto":
        raise PydanticCustomError("must", "must be a whole number of bits from 1 to 256, or auto")
    return value


def _factors(value: object) -> object:
    """A mapping from dimensions to whole numbers >= 1."""
    if not isinstance(value, Mapping):
        raise PydanticCustomError("must", "must map dimensions to whole numbers, like {K: 4}")
    for dim, factor in value.items():
        whole = isinstance(factor, int) and not isinstance(factor, bool) and factor >= 1
        if dim not in DIMS or not whole:
            text = f"must map N G K C P Q R S to whole numbers >= 1; {{{dim}: {factor!r}}} does not"
            raise PydanticCustomError("wrong", "{text}", {"text": text})
    return value


def _rows(value: Mapping[object, object], extra: tuple[str, ...]) -> None:
    """A table by pairs of formats."""
    for row, number in value.items():
        known = isinstance(row, str) and (row in extra or MAC_ROW.fullmatch(row))
        counts = isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < 1e30
        if not known or not counts:
            also = "".join(f" or {name}" for name in extra)
            text = f"must map rows like INT4xINT4{also} to numbers > 0; {{{row}: {number!r}}} does not"
            raise PydanticCustomError("wrong", "{text}", {"text": text})


def _relative(value: object) -> object:
    if isinstance(value, Mapping) and value:
        _rows(value, ())
    elif value not in ("dot32", "qkeras", "constant"):
        raise PydanticCustomError(
            "must", "must be dot32, qkeras, constant or a table like {INT4xINT4: 0.366}"
        )
    return value


def _macs_per_cycle(value: object) -> object:
    if not isinstance(value, Mapping):
        raise PydanticCustomError("must", "must be a table like {default: 1, INT4xINT4: 2}")
    _rows(value, ("default",))
    return value


PsumBits = Annotated[int | Literal["auto"], BeforeValidator(_psum_bits)]
Factors = Annotated[dict[Dim, int], BeforeValidator(_factors)]
Relative = Annotated[
    Literal["dot32", "qkeras", "constant"] | Annotated[dict[str, float], Field(strict=False)],
    BeforeValidator(_relative),
]
MacsPerCycle = Annotated[dict[str, float], Field(strict=False), BeforeValidator(_macs_per_cycle)]


class ShiftAddSection(Closed):
    """Units of shifters and adders, for run-time weights that are sums of powers of two (formats.md 8).

    A MAC costs terms * (`shift_pj_per_bit` * input bits + `add_pj_per_bit` * accumulator bits).
    """

    shift_pj_per_bit: NotNegative
    add_pj_per_bit: Positive


class MacSection(Closed):
    """The multiply-accumulate units.

    `anchor_pj`: an INT8 x INT8 MAC with its registers. `relative`: energies of other Formats relative to it:
    `dot32` (measured dot-product units), `qkeras` (a fit; reads no anchor), `constant` (every MAC costs the
    anchor; imported designs), or a table. `mixed`: rule for operands of different widths.
    `shift_add`: prices of weights of gates and shifts without a row; absent: they have none.
    `macs_per_cycle` of one unit by Formats. `native_bits`: operand width of the multiplier, for information.
    """

    count: Count
    anchor_pj: Positive | None = None
    relative: Annotated[Relative, DefaultSource("measured", "dot-product units, hardware/mac_units.py")] = (
        "dot32"
    )
    mixed: Annotated[
        Literal["max", "geomean", "composable", "serial_weights"],
        DefaultSource("assumed", "the unit of the wider operand"),
    ] = "max"
    macs_per_cycle: Annotated[MacsPerCycle, DefaultSource("assumed", "one MAC per unit and cycle")] = Field(
        default_factory=lambda: {"default": 1.0}
    )
    leak_pj_per_cycle: Annotated[NotNegative, DefaultSource("assumed", "part of the MAC energy")] = 0.0
    native_bits: Count | None = None
    shift_add: ShiftAddSection | None = None
    source: Name
    sources: dict[str, Name] = Field(default_factory=dict)


class AxisSection(Closed):
    """One axis of a fan-out: `size` instances, unrolled over `dims` (absent: any)."""

    size: Count
    dims: Dims = DIMS


class FanoutSection(Closed):
    """Instances of the level below per instance of this one; x and y are one two-dimensional fan-out."""

    x: AxisSection = AxisSection(size=1)
    y: AxisSection = AxisSection(size=1)

    @property
    def size(self) -> int:
        """Instances over both axes."""
        return self.x.size * self.y.size


class LevelSection(Closed):
    """One memory, or with `keeps: []` a pure fan-out of `name`, `fanout` and `fixed_spatial` alone.

    `read_pj`, `write_pj`, `update_pj` are per access of `width_bits`; `update_pj` absent: a write. `banks`:
    accesses of `from_table` go to one bank. `cluster`: instances that share one access; `size_bits` is that
    of one instance. `multiple_buffering` 2 halves the usable size. `charge_drain`: finished tiles are read
    once more on their way out. `residency`: feature maps may stay here between layers. `temporal_dims`:
    dimensions that may iterate here; `temporal_order`: of these, what comes innermost, in this order.
    `fixed_temporal`, `max_temporal`, `fixed_spatial`: only, greatest, only factor of a dimension.
    """

    name: Name
    keeps: Tensors
    size_bits: SizeBits | None = None
    word_bits: Count | None = None
    width_bits: Count | None = None
    banks: Annotated[Count, DefaultSource("assumed", "one bank")] = 1
    read_pj: NotNegative | None = None
    read_pj_per_bit: NotNegative | None = None
    write_pj: NotNegative | None = None
    write_pj_per_bit: NotNegative | None = None
    update_pj: NotNegative | None = None
    leak_pj_per_cycle: Annotated[NotNegative, DefaultSource("assumed", "leakage is not priced")] = 0.0
    noc_pj_per_word: Annotated[NotNegative, DefaultSource("assumed", "the network below is not priced")] = 0.0
    read_words_per_cycle: Positive | None = None
    write_words_per_cycle: Positive | None = None
    fanout: Annotated[FanoutSection, DefaultSource("assumed", "one instance below")] = FanoutSection()
    bypass_allowed: Annotated[Tensors, DefaultSource("assumed", "what is kept is kept always")] = ()
    temporal_dims: Annotated[Dims, DefaultSource("assumed", "any dimension may iterate")] = DIMS
    temporal_order: Annotated[Dims, DefaultSource("assumed", "any order")] = ()
    fixed_temporal: Annotated[Factors, DefaultSource("assumed", "any factor")] = Field(default_factory=dict)
    max_temporal: Annotated[Factors, DefaultSource("assumed", "any factor")] = Field(default_factory=dict)
    fixed_spatial: Annotated[Factors, DefaultSource("assumed", "any factor")] = Field(default_factory=dict)
    cluster: Annotated[Count, DefaultSource("assumed", "every instance is accessed alone")] = 1
    multiple_buffering: Annotated[Literal[1, 2], DefaultSource("assumed", "the whole memory is usable")] = 1
    charge_drain: Annotated[bool, DefaultSource("assumed", "draining is not priced")] = False
    residency: Annotated[bool, DefaultSource("assumed", "no feature map stays here")] = False
    source: Name | None = None
    sources: dict[str, Name] = Field(default_factory=dict)

    @property
    def stores(self) -> bool:
        """Does it keep anything?"""
        return bool(self.keeps)

    @property
    def read_energy_pj(self) -> float:
        """pJ of one read of `width_bits`, however the file says it; 0 for a pure fan-out."""
        return _per_access(self.read_pj, self.read_pj_per_bit, self.width_bits)

    @property
    def write_energy_pj(self) -> float:
        """pJ of one write of `width_bits`; 0 for a pure fan-out."""
        return _per_access(self.write_pj, self.write_pj_per_bit, self.width_bits)

    @property
    def words(self) -> int | None:
        """Usable words of one instance; None when unbounded, 0 for a pure fan-out."""
        if self.size_bits == "unbounded":
            return None
        return (self.size_bits or 0) // ((self.word_bits or 1) * self.multiple_buffering)


class OpsSection(Closed):
    """Prices of element operations: QKeras' fits at 45 nm, carried to the node of the file or not."""

    relative: Literal["qkeras45"] = "qkeras45"
    scale_to_node: bool = True
    source: Name
    sources: dict[str, Name] = Field(default_factory=dict)


def _per_access(access: float | None, per_bit: float | None, width_bits: int | None) -> float:
    return access if access is not None else (per_bit or 0.0) * (width_bits or 0)
