"""Analytical twin of a BrainTTA-like core (Molendijk et al. 2022, arXiv 2211.11331): the nominal closed form.

32 output lanes, each on a 32-bit word: VC = 32/b input values per lane and cycle.

    mac cycles   dense N*P*Q*ceil(K/32)*R*S*ceil(C/VC); a grouped layer runs group by group
                 depthwise `taps` N*P*Q*ceil(K/32)*R*S, `lanes` N*P*Q*ceil(K/32)*ceil(R*S/VC)
    epilogue     N*P*Q*ceil(K/32)*epilogue_cycles
    E_core       mac cycles * e_cycle(format) + (epilogue + element operation cycles) * e_overhead

b = max(b_w, b_a), rounded up to 1, 2, 4 or 8; a partly used lane costs a full cycle [assumed]. Element
operations take one cycle per vector of 32 values and elementary operation [assumed]. It is not the
cycle-accurate machine: padded taps are computed and the epilogue adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitjoule.energy.infeasible import Infeasible
from bitjoule.hardware import TtaSection
from bitjoule.hardware.mac_units import integer_width
from bitjoule.workload import Layer

__all__ = ["SUPPORTED_BITS", "CoreCycles", "Operands", "core_cycles", "operands_of"]

SUPPORTED_BITS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Operands:
    """The operand width a layer runs at; `price` is its key in `e_cycle_pj`, `rounded_from` its own width."""

    bits: int
    price: str
    rounded_from: int

    def e_cycle_pj(self, section: TtaSection) -> float:
        """Energy of one cycle of the MAC array."""
        return float(getattr(section.e_cycle_pj, self.price))


@dataclass(frozen=True)
class CoreCycles:
    """Cycles of one layer on the core."""

    mac: int
    epilogue: int


def operands_of(layer: Layer) -> Operands:
    """The width `layer` runs at: the wider operand, rounded up to what the core multiplies.

    UINTb and MOONSb count as INTb, MOONS1 as BIPOLAR; TERNARY is priced as such when neither operand is a
    2-bit integer.

    Raises:
        Infeasible: an operand wider than 8 bits, or of a format that no integer multiplier takes.
    """
    names, widths = [], []
    for operand, tensor_format in (("weights", layer.weight_format), ("input", layer.input_format)):
        width = None if tensor_format is None else integer_width(tensor_format.format)
        name = "FLOAT32" if tensor_format is None else tensor_format.format.name
        if width is None or width > SUPPORTED_BITS[-1]:
            raise Infeasible(
                layer.name,
                f"has {name} {operand}, the core multiplies BIPOLAR, TERNARY and integers up to 8 bits",
                "choose a scheme of these formats for this layer, or hardware that multiplies others",
            )
        names.append(name)
        widths.append(width)
    wanted = max(widths)
    bits = next(supported for supported in SUPPORTED_BITS if supported >= wanted)
    widest = {name for name, width in zip(names, widths, strict=True) if width == wanted}
    price = "BIPOLAR" if bits == 1 else "TERNARY" if widest == {"TERNARY"} else f"INT{bits}"
    return Operands(bits, price, wanted)


def core_cycles(layer: Layer, bits: int, section: TtaSection) -> CoreCycles:
    """Cycles of `layer` at `bits` per operand.

    >>> from bitjoule.hardware import load
    >>> core_cycles(Layer("conv", "conv", 1, 64, 64, 56, 56, 3, 3), 1, load("braintta22").tta)
    CoreCycles(mac=112896, epilogue=12544)
    """
    per_word = section.word_bits // bits
    positions = layer.N * layer.P * layer.Q
    if layer.is_depthwise:
        vectors = math.ceil(layer.K / section.lanes)
        taps = layer.R * layer.S
        window = taps if section.depthwise == "taps" else math.ceil(taps / per_word)
        return CoreCycles(positions * vectors * window, positions * vectors * section.epilogue_cycles)
    vectors = layer.groups * math.ceil(layer.K // layer.groups / section.lanes)
    words = math.ceil(layer.C // layer.groups / per_word)
    mac = positions * vectors * layer.R * layer.S * words
    return CoreCycles(mac, positions * vectors * section.epilogue_cycles)
