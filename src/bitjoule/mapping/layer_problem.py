"""From a Layer of a network on a Hardware to the Problem that counting needs: bounds, bits, MAC energy.

Widths of partial sums: mapping.md section 3. A Format of None is FLOAT32.
"""

from __future__ import annotations

from bitjoule.formats import Format, accumulator_bits, parse_format
from bitjoule.hardware import Hardware, mac_energy_of, macs_per_cycle_of
from bitjoule.mapping.packing import Mode
from bitjoule.mapping.problem import Problem
from bitjoule.workload.layer import Layer
from bitjoule.workload.workload import ACCUMULATOR_FORMAT

__all__ = ["auto_psum_bits", "problem_of", "psum_warning"]


def problem_of(layer: Layer, hardware: Hardware, *, mode: Mode = "physical") -> Problem:
    """Loop bounds (K and C per group, groups in G), bits and MAC energy of `layer` on `hardware`.

    A matrix product of two activations has its second operand as weights. `physical`: partial sums have the
    hardware's `psum_bits` or, where it says auto, what no sum can overflow, and are never narrower than the
    result; outputs that stay accumulators (INT32, logits) are stored at that width. `paper`: partial sums at
    output bits, outputs that stay accumulators at the wider operand's, every MAC at the price and speed of
    INT8 x INT8. `native`: no bits, MACs as in `paper`.

    Raises:
        ValueError: hardware of another kind, or a pair of Formats that its MAC units have no price for.
    """
    _check_kind(hardware)
    weight, activation = _operands(layer)
    least = auto_psum_bits(layer) if hardware.psum_bits == "auto" else hardware.psum_bits
    priced = (weight, activation) if mode == "physical" else (parse_format("INT8"),) * 2
    weights: int | None = layer.stored_bits_per_weight
    inputs: int | None = layer.input_bits
    accumulates = _is_accumulator(layer)
    outputs: int | None = layer.output_bits
    psums: int | None
    if mode == "physical":
        psums = least if accumulates else max(least, layer.output_bits)
        outputs = psums if accumulates else layer.output_bits
    elif mode == "paper":
        psums = outputs = max(layer.weight_bits, layer.input_bits) if accumulates else layer.output_bits
    else:
        weights = inputs = outputs = psums = None
    return Problem(
        layer.name,
        (
            layer.N,
            layer.groups,
            layer.K // layer.groups,
            layer.C // layer.groups,
            layer.P,
            layer.Q,
            layer.R,
            layer.S,
        ),
        stride=layer.stride,
        dilation=layer.dilation,
        weight_bits=weights,
        input_bits=inputs,
        output_bits=outputs,
        psum_bits=psums,
        mac_pj=mac_energy_of(hardware, *priced, terms=layer.weight_terms, accumulator_bits=least),
        macs_per_cycle=macs_per_cycle_of(hardware, *priced),
    )


def auto_psum_bits(layer: Layer) -> int:
    """Bits that no sum of this layer can overflow: 1 + ceil(log2(C R S max|w| max|a| + 1)), C per group.

    Floats have no such bound: FP16 x FP16 accumulates in FP16, as the unit of the price table does
    (energy.md 3.1), any other pair with a float in FLOAT32 [assumed].
    """
    weight, activation = _operands(layer)
    if _is_integer(weight) and _is_integer(activation):
        return accumulator_bits(weight, activation, layer.C // layer.groups * layer.R * layer.S)
    return 16 if weight.name == activation.name == "FP16" else 32


def psum_warning(layer: Layer, hardware: Hardware) -> str | None:
    """A text when the hardware's partial sums are narrower than the layer can need, else None."""
    _check_kind(hardware)
    need = auto_psum_bits(layer)
    if hardware.psum_bits == "auto" or hardware.psum_bits >= need:
        return None
    weight, activation = _operands(layer)
    fails = "overflow" if _is_integer(weight) and _is_integer(activation) else "lose precision"
    return (
        f"layer {layer.name!r}: partial sums may {fails}: {hardware.name} has psum_bits "
        f"{hardware.psum_bits}, {weight} x {activation} over {layer.C // layer.groups * layer.R * layer.S} "
        f"products can need {need}"
    )


def _operands(layer: Layer) -> tuple[Format, Format]:
    float32 = parse_format("FLOAT32")
    return (
        layer.weight_format.format if layer.weight_format else float32,
        layer.input_format.format if layer.input_format else float32,
    )


def _is_accumulator(layer: Layer) -> bool:
    return layer.output_format is not None and layer.output_format.format.name == ACCUMULATOR_FORMAT


def _is_integer(format_: Format) -> bool:
    return format_.kind in ("integer", "levels")


def _check_kind(hardware: Hardware) -> None:
    if hardware.kind != "hierarchy":
        raise ValueError(
            f"hardware {hardware.name!r} is of kind {hardware.kind}; layers are mapped on kind hierarchy"
        )
