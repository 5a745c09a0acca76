"""Energy of element operations on a hardware of kind hierarchy, and which of them a layer's pipeline does.

add(b) = 0.003125 b and mul(b) = 0.002994791667 b^2 + 0.001041666667 b at 45 nm [published: google/qkeras] are
carried to the node of the hardware; a shift or a clamp is half an add, a table look-up one read of the
innermost memory [assumed]. Work on accumulators is done at `psum_bits`, other work at the tensor's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bitjoule.energy.cost import CostItem
from bitjoule.energy.operations import (
    ADD,
    FREE_KINDS,
    MUL,
    REQUANTIZE,
    SELECTING_KINDS,
    SHIFT,
    Elementary,
    elementary_operations,
    narrowing,
)
from bitjoule.formats import TensorFormat
from bitjoule.hardware import Hardware
from bitjoule.hardware.mac_units import add_pj, mul_pj
from bitjoule.hardware.technology import energy_factor
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.workload import Layer, Operation, Workload

__all__ = ["ElementPrices", "element_prices", "fused_items", "narrowing_item", "operation_items"]

FITTED_NM = 45
ACCUMULATOR = "INT32"
"""Format of stored tensors that stay accumulators."""


@dataclass(frozen=True)
class ElementPrices:
    """`scale` carries the fits from 45 nm to the hardware's node.

    >>> round(ElementPrices().energy_pj(REQUANTIZE, 16), 6)  # mul(16) + add(16)
    0.833333
    """

    scale: float = 1.0
    lookup_pj: float = 0.0

    def energy_pj(self, operations: Elementary, bits: int) -> float:
        """Energy of elementary operations at a width."""
        adds = (operations.adds + operations.shifts / 2) * add_pj(bits)
        return self.scale * (adds + operations.muls * mul_pj(bits)) + operations.lookups * self.lookup_pj


def element_prices(hardware: Hardware, accelerator: Accelerator) -> ElementPrices:
    """Prices of `hardware`; unscaled where it names no silicon node or does not ask for scaling.

    Raises:
        ValueError: a node outside the range of the scaling.
    """
    scales = hardware.ops is None or hardware.ops.scale_to_node
    scaled = scales and hardware.technology is not None
    scale = energy_factor(FITTED_NM, hardware.technology.node_nm) if scaled and hardware.technology else 1.0
    innermost = next(level for level in accelerator.levels if level.keeps)
    return ElementPrices(scale, innermost.read_pj)


def fused_items(
    layer: Layer, workload: Workload, psum_bits: int, prices: ElementPrices
) -> Iterator[CostItem]:
    """Bias, fused operators and requantization of a layer, on accumulators: no traffic."""
    if layer.bias:
        yield _item(layer.name, "bias", ADD, layer.output_elements, psum_bits, prices)
    for operation in workload.operations:
        if operation.fused_into == layer.name and operation.kind not in FREE_KINDS:
            work = elementary_operations(operation, workload)
            if operation.kind == "add" and layer.input_format is not None:
                work = work + _rescaled(operation, workload) * len(operation.inputs)
            yield _item(layer.name, operation.kind, work, operation.elements, psum_bits, prices)
    stored = workload.tensors.get(layer.output)
    kind, work = _requantized(layer.output_format, layer.weight_format, layer.input_format)
    elements = stored.elements if stored else layer.output_elements
    if work.total:
        yield _item(layer.name, kind, work, elements, psum_bits, prices)


def operation_items(operation: Operation, workload: Workload, prices: ElementPrices) -> Iterator[CostItem]:
    """A step of its own: its operator, operands brought to one scale, what is fused behind it, and the way to
    the stored width."""
    stored = [workload.tensors[name] for name in (*operation.inputs, operation.output)]
    bits = max(tensor.bits for tensor in stored)
    work = elementary_operations(operation, workload)
    if operation.kind == "add" and all(tensor.format is not None for tensor in stored):
        work = work + _rescaled(operation, workload) * max(0, len(operation.inputs) - 1)
    if work.total:
        yield _item(operation.name, operation.kind, work, operation.elements, bits, prices)
    for fused in workload.operations:
        if fused.fused_into == operation.name and fused.kind not in FREE_KINDS:
            work = elementary_operations(fused, workload)
            yield _item(operation.name, fused.kind, work, fused.elements, bits, prices)
    if operation.kind in FREE_KINDS | SELECTING_KINDS:
        return
    formats = [workload.tensors[name].format for name in operation.inputs]
    kind, work = _requantized(stored[-1].format, *formats)
    if work.total:
        yield _item(operation.name, kind, work, operation.elements, bits, prices)


def narrowing_item(
    layer: str, read: TensorFormat | None, elements: int, bits: int, prices: ElementPrices
) -> CostItem:
    """The copy in the Format that a layer reads (`read`) of a tensor that is stored wider, in `bits`."""
    kind, work = ("requantize", REQUANTIZE) if read is None else narrowing(read)
    return _item(layer, kind, work, elements, bits, prices, tensor="inputs")


def _rescaled(operation: Operation, workload: Workload) -> Elementary:
    """A stored operand of an add on its way to the scale of the sum: its scale differs [assumed]."""
    formats = [workload.tensors[name].format for name in operation.inputs if name in workload.tensors]
    return SHIFT if formats and all(_power_of_two(entry) for entry in formats) else MUL + SHIFT


def _requantized(stored: TensorFormat | None, *sources: TensorFormat | None) -> tuple[str, Elementary]:
    """From accumulators to the stored Format: "requantize", or "compare" for one bit and for ternary."""
    if stored is None or stored.format.kind == "float" or stored.format.name == ACCUMULATOR:
        return "requantize", Elementary()
    kind, work = narrowing(stored)
    if kind == "requantize" and all(_power_of_two(entry) for entry in (stored, *sources)):
        return kind, SHIFT * 2
    return kind, work


def _power_of_two(entry: TensorFormat | None) -> bool:
    """Is the scale a power of two, by its kind or because the Format fixes it?"""
    if entry is None:
        return False
    fixed = entry.format.fixed_scale
    return entry.scaling.kind == "pot" if fixed is None else math.frexp(fixed)[0] == 0.5


def _item(
    layer: str,
    kind: str,
    work: Elementary,
    elements: int,
    bits: int,
    prices: ElementPrices,
    *,
    tensor: str = "outputs",
) -> CostItem:
    count = math.ceil(work.total * elements)
    return CostItem(layer, f"op:{kind}", tensor, "compute", count, prices.energy_pj(work, bits) * elements)
