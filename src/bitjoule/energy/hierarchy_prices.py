"""Prices of a network's steps on a hierarchy, for the residency optimum.

A step's price is the energy of its best mapping, given what lives on chip and the room that remains, plus
what stands beside the mapping (element operations, shortcuts). Mappings are searched for only when the
optimum depends on them: `step` answers with a lower bound, the energy for more room than there is, until
`settle` has made it exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from bitjoule.energy.feature_map import FeatureMap
from bitjoule.energy.hierarchy_items import Transfer, leak_items
from bitjoule.energy.hierarchy_steps import StepWork
from bitjoule.energy.infeasible import Infeasible
from bitjoule.energy.mapping_table import MappingTable, PlacedMapping
from bitjoule.energy.residency_prices import Option, Price, StepChoice
from bitjoule.mapping.accelerator import StorageLevel
from bitjoule.mapping.evaluate import Evaluation
from bitjoule.mapping.infeasible import InfeasibleMapping

__all__ = ["HierarchyPrices"]


@dataclass
class HierarchyPrices:
    """Tensors by their index in `maps`; bits of the residency level, None: unlimited.

    `weight_bits`: what the weights of a step would take there, for steps whose weights may stay. `pinned`:
    steps whose weights do, in `pinned_bits` that are no part of `capacity_bits` (`with_weights`).
    """

    works: Sequence[StepWork]
    maps: Sequence[FeatureMap]
    tables: Mapping[str, MappingTable]
    capacity_bits: int | None
    weight_bits: Mapping[int, int] = field(default_factory=dict)
    pinned: frozenset[int] = frozenset()
    pinned_bits: int = 0
    _index: dict[str, int] = field(init=False)
    _whole: dict[tuple[str, int], tuple[Transfer, ...]] = field(default_factory=dict)
    _answers: dict[tuple[int, frozenset[int], int | None], Price | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index = {tensor.name: number for number, tensor in enumerate(self.maps)}

    @property
    def searches(self) -> int:
        """Mapper calls so far."""
        return sum(table.searches for table in {id(table): table for table in self.tables.values()}.values())

    def with_weights(self, pinned: frozenset[int]) -> HierarchyPrices:
        """The same network while the weights of these steps stay on chip, in every step."""
        bits = sum(self.weight_bits[step] for step in pinned)
        capacity = None if self.capacity_bits is None else self.capacity_bits - bits
        return HierarchyPrices(self.works, self.maps, self.tables, capacity, {}, pinned, bits)

    def step(self, step: int, on: frozenset[int], free_bits: int | None) -> Price | None:
        """Energy, and bits that cross DRAM; a lower bound until it is settled."""
        key = (step, on, free_bits)
        if key not in self._answers:
            self._answers[key] = self._price(step, on, free_bits)[0]
        return self._answers[key]

    def settle(self, choice: StepChoice) -> bool:
        """Make the price of a choice exact; False when `step` had answered something else."""
        key = (choice.step, choice.on, choice.free_bits)
        answered = self._answers.get(key)
        self.placed(choice)
        self._answers[key], exact = self._price(*key)
        return exact and self._answers[key] == answered

    def placed(self, choice: StepChoice) -> PlacedMapping | None:
        """The mapping of a choice; None for an element operation, or where nothing fits."""
        work = self.works[choice.step]
        roles = self._roles(work, self._names(choice.on), pinned=choice.step in self.pinned)
        free = self._free_words(work, choice.on, choice.free_bits)
        if work.problem is None or roles is None or (free is not None and free < 0):
            return None
        return self.tables[work.name].at(roles, free)

    def whole(self, kind: str, tensor: int, step: int) -> tuple[Transfer, ...]:
        """A whole tensor that moves at a step: "load", "fill" or "flush"."""
        name = self.maps[tensor].name
        work = self.works[step]
        if kind == "flush":
            return work.moved(name, "read", True, "outputs"), work.moved(name, "write", False, "outputs")
        arrives = work.moved(name, "write", True, "inputs")
        return (work.moved(name, "read", False, "inputs"), arrives) if kind == "load" else (arrives,)

    def load(self, tensor: int) -> Price:
        """From DRAM into the residency level."""
        return self._whole_price("load", tensor)

    def fill(self, tensor: int) -> Price:
        """Into the residency level."""
        return self._whole_price("fill", tensor)

    def flush(self, tensor: int) -> Price:
        """From the residency level to DRAM."""
        return self._whole_price("flush", tensor)

    def fault(self, step: int) -> Exception:
        """Why a step has no mapping even when everything is streamed."""
        work = self.works[step]
        if work.problem is None:
            return RuntimeError(f"step {work.name!r} fits with no choice of what lives on chip")
        table = self.tables[work.name]
        level = work.platform.home
        free = None if level is None or self.capacity_bits is None else self._words(self.capacity_bits)
        hardware = table.accelerator if level is None else table.accelerator.resident(level.name, (), free)
        try:
            table.solver(work.problem, hardware, mode=table.mode)
        except InfeasibleMapping as error:
            head, *rest = str(error).splitlines()
            mend = [line.strip() for line in rest if line.strip().startswith("what would mend it")]
            reason = [head.removeprefix(f"{error.layer} "), *rest[: len(rest) - len(mend)]]
            return Infeasible(work.name, "\n".join(reason), *(mend or ["give the hardware larger memories"]))
        return RuntimeError(f"step {work.name!r} has a mapping, but no choice of what lives on chip fits")

    def options(self, step: int) -> Sequence[Option]:
        """What is known of a step's prices at every room: lower bounds that `settle` refines."""
        work = self.works[step]
        if self.capacity_bits is None:
            raise ValueError("options are listed for a limited residency level")
        groups = list(
            dict.fromkeys(group.names for group in work.groups if set(group.names) <= set(self._index))
        )
        pinned = (False, True) if step in self.weight_bits else (False,)
        found = []
        for keep_weights, *choice in product(pinned, *[(False, True)] * len(groups)):
            names = frozenset(n for on, group in zip(choice, groups, strict=True) if on for n in group)
            on = frozenset(self._index[name] for name in names)
            roles = self._roles(work, names, pinned=keep_weights or step in self.pinned)
            if roles is None:
                continue
            items, _ = work.items(names)
            beside = math.fsum(item.energy_pj for item in items)
            if work.problem is None:
                found.append(Option(on, beside, 0))
                continue
            copies, most = work.copy_words(names), self._most_words(work, on)
            if most is not None and keep_weights:
                most -= self._words(self.weight_bits[step])
            if most is None or most < 0:
                continue
            found += [
                Option(on, beside + entry.energy_pj, (words + copies) * self._word_bits, keep_weights)
                for words, entry in self.tables[work.name].bounds(roles, most)
            ]
        return found

    def _price(self, step: int, on: frozenset[int], free_bits: int | None) -> tuple[Price | None, bool]:
        """The price, and whether it is exact."""
        work = self.works[step]
        names = self._names(on)
        roles = self._roles(work, names, pinned=step in self.pinned)
        if roles is None:
            return None, True
        items, _ = work.items(names)
        outermost = f"level:{work.platform.outermost.name}"
        energy = math.fsum(item.energy_pj for item in items)
        bits = sum(item.bits_moved for item in items if item.component == outermost)
        if work.problem is None:
            return (energy, bits), True
        free = self._free_words(work, on, free_bits)
        if free is not None and free < 0:
            return None, True
        entry, exact = self.tables[work.name].bound(roles, free, self._most_words(work, on))
        if entry is None:
            return None, exact
        crossing = _crossing(entry.solved.evaluation, work.platform.outermost.width_bits)
        return (energy + entry.energy_pj, bits + crossing), exact

    @staticmethod
    def _roles(work: StepWork, names: frozenset[str], *, pinned: bool) -> tuple[str, ...] | None:
        """As `work.roles`, with the weights that stay."""
        roles = work.roles(names)
        return roles if roles is None or not pinned else ("weights", *roles)

    def _names(self, on: frozenset[int]) -> frozenset[str]:
        return frozenset(self.maps[number].name for number in on)

    @property
    def home(self) -> StorageLevel | None:
        """The residency level."""
        return self.works[0].platform.home if self.works else None

    @property
    def _word_bits(self) -> int:
        return 1 if self.home is None else self.home.word_bits

    def _words(self, bits: int) -> int:
        return bits // self._word_bits

    def _free_words(self, work: StepWork, on: frozenset[int], free_bits: int | None) -> int | None:
        """Room for tiles: what is free, less the narrow copies of what is on chip."""
        if free_bits is None:
            return None
        return self._words(free_bits) - work.copy_words(self._names(on))

    def _most_words(self, work: StepWork, on: frozenset[int]) -> int | None:
        """The greatest room a step can have with these of its tensors on chip."""
        if self.capacity_bits is None:
            return None
        return self._free_words(
            work, on, self.capacity_bits - sum(self.maps[number].size_bits for number in on)
        )

    def _whole_price(self, kind: str, tensor: int) -> Price:
        at = max(0, self.maps[tensor].producer)
        if (kind, tensor) not in self._whole:
            self._whole[kind, tensor] = self.whole(kind, tensor, at)
        transfers = self._whole[kind, tensor]
        work = self.works[at]
        cycles = sum(move.cycles for move in transfers)
        leaks = leak_items(work.name, cycles, work.platform.accelerator)
        energy = math.fsum(
            [*(move.item.energy_pj for move in transfers), *(item.energy_pj for item in leaks)]
        )
        outermost = f"level:{work.platform.outermost.name}"
        return energy, sum(m.item.bits_moved for m in transfers if m.item.component == outermost)


def _crossing(evaluation: Evaluation, width_bits: int) -> int:
    """Bits that a mapping moves across the outermost level."""
    return width_bits * sum(
        tensor.read_accesses + tensor.fill_accesses + tensor.update_accesses
        for tensor in evaluation.levels[-1].tensors
    )
