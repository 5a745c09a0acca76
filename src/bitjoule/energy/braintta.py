"""Cost of a Workload on a core of kind tta: cycles of `energy/core_cycles.py` and DRAM traffic.

Feature maps live in dmem by `energy/residency.py`. Weights stream through pmem once per inference, or, when a
layer's weights exceed pmem, once per dmem-sized tile of its output. On-chip accesses are part of a cycle's
price.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from bitjoule.energy.core_cycles import Operands, core_cycles, operands_of
from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.feature_map import ResidencyPlan
from bitjoule.energy.feature_memory import ResidencyMode, plan_feature_maps, steps_of
from bitjoule.energy.infeasible import Infeasible
from bitjoule.energy.measured_notes import measured_notes
from bitjoule.energy.operations import (
    FREE_KINDS,
    REQUANTIZE,
    SELECTING_KINDS,
    Elementary,
    elementary_operations,
    narrowing,
    require_known,
)
from bitjoule.energy.sparsity_notes import sparsity_notes
from bitjoule.formats import TensorFormat
from bitjoule.hardware import Hardware, TtaSection
from bitjoule.workload import Layer, Operation, Workload

__all__ = ["braintta"]

MAC, EPILOGUE, DRAM = "mac", "op:epilogue", "level:dram"
IN_EPILOGUE = frozenset({"batch_norm", "relu", "relu6", "hardtanh", "identity", "dropout"})
"""Fused operators that the epilogue already does."""

IN_CLAMP = IN_EPILOGUE - {"batch_norm"}
"""Operators behind an operation of its own that the clamp of its requantization already does."""


def braintta(workload: Workload, hardware: Hardware, *, residency: ResidencyMode = "optimal") -> Cost:
    """Energy and cycles of one inference on a BrainTTA-like core.

    Items per step: "mac", "op:epilogue", "op:<kind>" of element operations, "op:requantize" (the result of an
    operation of its own; the narrow copy of a wide tensor that a layer reads, as in HPR), "op:compare" in its
    place where that copy has one bit or is ternary, "level:dram" by tensor.

    Raises:
        Infeasible: a layer's formats, or a step's working set, do not fit the core.
        UnknownOperation: operators without an operation count, all of them.
        ValueError: `hardware` is not of kind tta.
    """
    section = hardware.tta
    if section is None:
        raise ValueError(f"hardware {hardware.name!r} is of kind {hardware.kind}, this model needs kind tta")
    require_known(workload)
    operands = {layer.name: operands_of(layer) for layer in workload.layers}
    steps = steps_of(workload)
    plan = _plan(workload, hardware, section, residency)
    items: list[CostItem] = []
    latency: dict[str, int] = {}
    footprint: dict[tuple[str, str], int] = {}
    for index, (name, step) in enumerate(steps.items()):
        found = list(_step_items(step, workload, operands, section))
        latency[name] = sum(item.count for item in found)
        items += found
        items += _feature_map_items(index, step, workload, plan, section)
        footprint[name, "dmem"] = plan.occupied_bits[index]
        if isinstance(step, Layer):
            items += _weight_items(step, section)
            footprint[name, "pmem"] = _pmem_bits(step, section)
    return Cost(
        items=tuple(items),
        latency_cycles=latency,
        footprint_bits=footprint,
        macs={layer.name: layer.macs for layer in workload.layers},
        network=workload.network,
        scheme=workload.scheme,
        hardware=hardware.name,
        hardware_hash=hardware.hash,
        outermost=DRAM,
        notes=(*_notes(section, operands, residency), *sparsity_notes(workload), *measured_notes(workload)),
        provenance={
            MAC: "; ".join(
                f"{price}: {hardware.source_of(f'tta.e_cycle_pj.{price}').status}"
                for price in sorted({operand.price for operand in operands.values()})
            ),
            EPILOGUE: f"e_overhead_pj: {hardware.source_of('tta.e_overhead_pj').status}",
            DRAM: f"dram_pj_per_bit: {hardware.source_of('tta.dram_pj_per_bit').status}",
        },
    )


def _plan(workload: Workload, hardware: Hardware, section: TtaSection, mode: ResidencyMode) -> ResidencyPlan:
    """Residency in dmem; what does not fit names the key that would mend it."""
    capacity = None if section.dmem_bits == "unbounded" else section.dmem_bits
    try:
        return plan_feature_maps(
            workload, capacity, word_bits=section.word_bits, lanes=section.lanes, mode=mode
        )
    except Infeasible as error:
        remedy = f"raise tta.dmem_bits of {hardware.name}, or choose fewer bits for its tensors"
        raise Infeasible(error.layer, error.reason, remedy) from None


def _step_items(
    step: Layer | Operation, workload: Workload, operands: dict[str, Operands], section: TtaSection
) -> Iterator[CostItem]:
    """Cycles on the core; every item counts cycles."""
    if isinstance(step, Operation):
        yield from _operation_items(step.name, step, workload, section)
        for operation in workload.operations:
            if operation.fused_into == step.name and operation.kind not in IN_CLAMP:
                yield from _operation_items(step.name, operation, workload, section)
        return
    yield from _narrowing_items(step, workload, section)
    operand = operands[step.name]
    cycles = core_cycles(step, operand.bits, section)
    yield CostItem(step.name, MAC, "none", "compute", cycles.mac, cycles.mac * operand.e_cycle_pj(section))
    yield _cycles_item(step.name, EPILOGUE, "outputs", cycles.epilogue, section)
    for operation in workload.operations:
        if operation.fused_into == step.name and operation.kind not in IN_EPILOGUE:
            yield from _operation_items(step.name, operation, workload, section)


def _operation_items(
    step: str, operation: Operation, workload: Workload, section: TtaSection
) -> Iterator[CostItem]:
    vectors = math.ceil(operation.elements / section.lanes)
    cycles = math.ceil(vectors * elementary_operations(operation, workload).total)
    if cycles:
        yield _cycles_item(step, f"op:{operation.kind}", "outputs", cycles, section)
    if not operation.fused_into and operation.kind not in FREE_KINDS | SELECTING_KINDS:
        stored = workload.tensors.get(operation.output)
        kind, work = _into(None if stored is None else stored.format)
        yield _cycles_item(step, f"op:{kind}", "outputs", vectors * int(work.total), section)


def _into(stored: TensorFormat | None) -> tuple[str, Elementary]:
    """The way into a Format: thresholds where it has one bit, else requantization; floats as well."""
    return ("requantize", REQUANTIZE) if stored is None else narrowing(stored)


def _narrowing_items(layer: Layer, workload: Workload, section: TtaSection) -> Iterator[CostItem]:
    """The copy in the layer's own width of a tensor that is stored wider."""
    operands = 2 if layer.kind == "matmul" else 1
    reads = ((layer.input_bits, layer.input_format), (layer.weight_bits, layer.weight_format))
    for name, (bits, read) in zip(layer.inputs[:operands], reads, strict=False):
        tensor = workload.tensors.get(name)
        if tensor is not None and tensor.bits > bits:
            vectors = math.ceil(tensor.elements / section.lanes)
            kind, work = _into(read)
            yield _cycles_item(layer.name, f"op:{kind}", "inputs", vectors * int(work.total), section)


def _cycles_item(step: str, component: str, tensor: str, cycles: int, section: TtaSection) -> CostItem:
    return CostItem(step, component, tensor, "compute", cycles, cycles * section.e_overhead_pj)


def _feature_map_items(
    index: int, step: Layer | Operation, workload: Workload, plan: ResidencyPlan, section: TtaSection
) -> Iterator[CostItem]:
    """DRAM traffic of the step's tensors, in words of the core."""
    operands = 2 if isinstance(step, Layer) and step.kind == "matmul" else 1
    moved = [("read", name) for at, name in plan.reads if at == index]
    moved += [("write", name) for at, name in plan.writes if at == index]
    for action, name in moved:
        if action == "write":
            tensor = "outputs"
        else:
            shortcut = isinstance(step, Layer) and name not in step.inputs[:operands]
            tensor = "residual" if shortcut else "inputs"
        words = math.ceil(workload.tensors[name].size_bits / section.word_bits)
        yield _dram_item(step.name, tensor, action, words, section)


def _weight_items(layer: Layer, section: TtaSection) -> Iterator[CostItem]:
    words = math.ceil(_weight_bits(layer) / section.word_bits)
    if words:
        yield _dram_item(layer.name, "weights", "read", words * _weight_passes(layer, section), section)


def _weight_passes(layer: Layer, section: TtaSection) -> int:
    """How often weights stream in: once, or once per dmem-sized output tile when they exceed pmem."""
    if section.pmem_bits == "unbounded" or section.dmem_bits == "unbounded":
        return 1
    if _weight_bits(layer) <= section.pmem_bits:
        return 1
    return max(1, math.ceil(layer.output_elements * layer.output_bits / section.dmem_bits))


def _weight_bits(layer: Layer) -> int:
    """Weights in their format; biases are 32-bit accumulator words."""
    return layer.weight_storage_bits + layer.bias_elements * 32


def _pmem_bits(layer: Layer, section: TtaSection) -> int:
    held = _weight_bits(layer)
    return held if section.pmem_bits == "unbounded" else min(held, section.pmem_bits)


def _dram_item(step: str, tensor: str, action: str, words: int, section: TtaSection) -> CostItem:
    bits = words * section.word_bits
    return CostItem(step, DRAM, tensor, action, words, bits * section.dram_pj_per_bit, bits)


def _notes(section: TtaSection, operands: dict[str, Operands], residency: ResidencyMode) -> tuple[str, ...]:
    notes = [
        f"BrainTTA-like core, model {section.model}: full window, additive epilogue of "
        f"{section.epilogue_cycles} cycles, depthwise {section.depthwise}, residency {residency}; "
        "e_cycle calibrated to arXiv 2211.11331"
    ]
    rounded = sorted({(o.rounded_from, o.bits) for o in operands.values() if o.rounded_from != o.bits})
    for wanted, bits in rounded:
        layers = [name for name, operand in operands.items() if operand.rounded_from == wanted]
        notes.append(f"{wanted}-bit operands run as {bits} bits: {', '.join(layers)}")
    return tuple(notes)
