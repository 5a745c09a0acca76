"""Steps of a network on a hierarchy: which of a step's tensors may live on chip, and what that moves.

A step's tensors stand in groups that are on chip together or not: the operand(s) and the output of a layer
(those that the mapper knows, as long as the residency level keeps them), its shortcuts, the operands and the
output of an element operation. The parts of a concatenated operand are one group [assumed].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bitjoule.energy.cost import CostItem
from bitjoule.energy.element_prices import ElementPrices, fused_items, narrowing_item, operation_items
from bitjoule.energy.hierarchy_items import Transfer, leak_items, transfer
from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.packing import words
from bitjoule.mapping.problem import TENSORS, Problem
from bitjoule.workload import Layer, Operation, Workload

__all__ = ["Group", "Platform", "StepWork", "step_works"]


@dataclass(frozen=True)
class Platform:
    """Where a network runs: hardware, residency level (None without one), prices of element operations."""

    accelerator: Accelerator
    home: StorageLevel | None
    prices: ElementPrices

    @property
    def outermost(self) -> StorageLevel:
        """DRAM."""
        return self.accelerator.levels[-1]

    def level(self, on: bool) -> StorageLevel:
        """Where a tensor is found."""
        return self.home if on and self.home is not None else self.outermost

    def words(self, elements: int, bits: int, level: StorageLevel) -> int:
        """Words of `level` that a whole tensor takes."""
        return words(elements, bits, level.word_bits, self.accelerator.packing)


@dataclass(frozen=True)
class Group:
    """Tensors that are on chip together.

    `role`: what the mapper calls them; "" for shortcuts and for tensors of element operations.
    """

    names: tuple[str, ...]
    role: str = ""
    may_stay: bool = True


@dataclass(frozen=True)
class StepWork:
    """One step. `problem` is None for an element operation; `bits` are those of the stored tensors."""

    step: Layer | Operation
    problem: Problem | None
    groups: tuple[Group, ...]
    platform: Platform
    workload: Workload
    bits: Mapping[str, int]

    @property
    def name(self) -> str:
        """Of the layer or operation."""
        return self.step.name

    def roles(self, on: frozenset[str]) -> tuple[str, ...] | None:
        """What the mapper finds on chip when the tensors `on` are; None when that cannot be."""
        found = set()
        for group in self.groups:
            there = [name in on for name in group.names]
            if any(there) and not (all(there) and group.may_stay):
                return None
            if group.role and all(there):
                found.add(group.role)
        return tuple(tensor for tensor in TENSORS if tensor in found)

    def items(self, on: frozenset[str]) -> tuple[tuple[CostItem, ...], int]:
        """Element operations, shortcuts and narrow copies with the tensors `on` on chip; their cycles."""
        known = self._known_items.get(on)
        if known is None:
            known = self._operation(on) if isinstance(self.step, Operation) else self._beside_mapping(on)
            self._known_items[on] = known
        return known

    @cached_property
    def _known_items(self) -> dict[frozenset[str], tuple[tuple[CostItem, ...], int]]:
        return {}

    def copy_words(self, on: frozenset[str]) -> int:
        """Words that narrow copies of tensors on chip take beside them."""
        home = self.platform.home
        return (
            0
            if home is None
            else sum(
                self.platform.words(elements, bits, home)
                for name, elements, bits in self._copies()
                if name in on
            )
        )

    def moved(self, name: str, action: str, on: bool, tensor: str) -> Transfer:
        """A whole stored tensor, where it is found."""
        level = self.platform.level(on)
        held = self.platform.words(self.workload.tensors[name].elements, self.bits[name], level)
        return transfer(self.name, level, action, tensor, held)

    def _beside_mapping(self, on: frozenset[str]) -> tuple[tuple[CostItem, ...], int]:
        assert isinstance(self.step, Layer) and self.problem is not None
        prices = self.platform.prices
        psum_bits = self.problem.psum_bits or self.step.output_bits
        items = list(fused_items(self.step, self.workload, psum_bits, prices))
        moves = [
            self.moved(name, "read", name in on, "residual")
            for group in self.groups
            for name in group.names
            if not group.role
        ]
        for name, elements, bits in self._copies():
            read = self.step.input_format if bits == self.step.input_bits else self.step.weight_format
            items.append(narrowing_item(self.name, read, elements, self.bits[name], prices))
            level = self.platform.level(name in on)
            moves.append(self.moved(name, "read", name in on, "inputs"))
            moves.append(
                transfer(self.name, level, "write", "inputs", self.platform.words(elements, bits, level))
            )
        return self._with_moves(items, moves, 0)

    def _operation(self, on: frozenset[str]) -> tuple[tuple[CostItem, ...], int]:
        assert isinstance(self.step, Operation)
        items = list(operation_items(self.step, self.workload, self.platform.prices))
        work = math.ceil(sum(item.count for item in items) / self.platform.accelerator.mac_count)
        moves = [self.moved(name, "read", name in on, "inputs") for name in dict.fromkeys(self.step.inputs)]
        moves.append(self.moved(self.step.output, "write", self.step.output in on, "outputs"))
        return self._with_moves(items, moves, work)

    def _with_moves(
        self, items: list[CostItem], moves: Sequence[Transfer], work: int
    ) -> tuple[tuple[CostItem, ...], int]:
        """Each level moves its words one after another, levels and units work side by side."""
        by_port: dict[tuple[str, str], int] = {}
        for move in moves:
            port = (move.item.component, move.item.action)
            by_port[port] = by_port.get(port, 0) + move.cycles
        cycles = max([work, *by_port.values()], default=0)
        items += [move.item for move in moves if move.item.count]
        return (*items, *leak_items(self.name, cycles, self.platform.accelerator)), cycles

    def _copies(self) -> Iterator[tuple[str, int, int]]:
        """(tensor, elements, bits of the copy) of operands stored wider than the layer reads them."""
        if not isinstance(self.step, Layer):
            return
        widths = {"inputs": self.step.input_bits, "weights": self.step.weight_bits}
        for name, role in {name: g.role for g in self.groups for name in g.names if g.role in widths}.items():
            if self.bits[name] > widths[role]:
                yield name, self.workload.tensors[name].elements, widths[role]


def step_works(
    workload: Workload,
    steps: Mapping[str, Layer | Operation],
    problems: Mapping[str, Problem],
    platform: Platform,
) -> tuple[StepWork, ...]:
    """The steps of a workload, in order. Layers without tensor names stream everything."""
    bits = _stored_bits(workload, problems)
    works = []
    for name, step in steps.items():
        if isinstance(step, Operation):
            named = dict.fromkeys((*step.inputs, step.output))
            groups = tuple(Group((tensor,), may_stay=platform.home is not None) for tensor in named)
        else:
            groups = tuple(_layer_groups(step, workload, platform.home))
        works.append(StepWork(step, problems.get(name), groups, platform, workload, bits))
    return tuple(works)


def _stored_bits(workload: Workload, problems: Mapping[str, Problem]) -> dict[str, int]:
    """Bits of an element of every stored tensor; a layer's accumulators are as wide as it counts them."""
    bits = {name: tensor.bits for name, tensor in workload.tensors.items()}
    for layer in workload.layers:
        counted = problems[layer.name].output_bits
        stored = workload.tensors.get(layer.output)
        if stored is not None and stored.format == layer.output_format and counted is not None:
            bits[layer.output] = counted
    return bits


def _layer_groups(layer: Layer, workload: Workload, home: StorageLevel | None) -> Iterator[Group]:
    keeps = () if home is None else home.keeps
    first, second, shortcuts = _operands(layer, workload)
    if second == first and first:  # a product with itself
        both = {"inputs", "weights"} <= set(keeps)
        yield Group(first, "inputs", both)
        yield Group(first, "weights", both)
    else:
        for role, names in (("inputs", first), ("weights", second)):
            if names:
                yield Group(names, role, role in keeps)
    if layer.output:
        yield Group((layer.output,), "outputs", "outputs" in keeps)
    for name in shortcuts:
        yield Group((name,), may_stay=home is not None)


def _operands(layer: Layer, workload: Workload) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(first operand, second operand of a matrix product, shortcuts) among the stored tensors it reads.

    The parts of a concatenated operand follow each other; the first takes tensors up to its elements.
    """
    fused = [operation for operation in workload.operations if operation.fused_into == layer.name]
    shortcuts = tuple(
        dict.fromkeys(name for operation in fused for name in operation.inputs if name in layer.inputs)
    )
    operands = [name for place, name in enumerate(layer.inputs) if not place or name not in shortcuts]
    if layer.has_weights:
        return tuple(operands), (), shortcuts
    taken, elements = 0, 0
    while taken < len(operands) and elements < layer.input_elements:
        elements += workload.tensors[operands[taken]].elements
        taken += 1
    first = tuple(operands[:taken])
    return first, tuple(operands[taken:]) or first, shortcuts
