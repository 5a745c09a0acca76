"""What a choice of kept gaps costs when every step has a price of its own: the words of the energy form.

At a step, a tensor that it uses is *on* chip when the gap that ends there is kept, and a tensor that it makes
is on chip when its first gap is kept; the step's price depends on which are on and on the bits that remain
free. To these come the moves of whole tensors:

* load: a tensor that stands in DRAM is used at a step and kept from there on, and is read as a whole first,
  so that the step finds it on chip; or
* fill: the same, but the step reads it from DRAM itself and a copy goes on chip;
* flush: a tensor that was kept from the start and is needed in DRAM, because a later gap is not kept or
  because it is an output of the network, is read on chip and written to DRAM, once.

The pure-traffic form is the case in which every price is the bits that cross DRAM (`TrafficPrices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from bitjoule.energy.feature_map import BEFORE, FeatureMap, Step, too_small

__all__ = [
    "Option",
    "OptionPrices",
    "Price",
    "StepChoice",
    "StepPrices",
    "TrafficPrices",
    "choices_of",
    "loaded_or_filled",
]

Price = tuple[float, int]
"""(energy, bits that cross DRAM); added and compared in this order."""


class StepPrices(Protocol):
    """Prices of steps and of moves of whole tensors; tensors by their index."""

    def step(self, step: int, on: frozenset[int], free_bits: int | None) -> Price | None:
        """Price of a step; None when it does not fit into `free_bits` (None: unlimited).

        Never rises with `free_bits`.
        """
        ...

    def load(self, tensor: int) -> Price:
        """From DRAM to the chip."""
        ...

    def fill(self, tensor: int) -> Price:
        """Onto the chip, of a tensor that the step reads from DRAM anyway."""
        ...

    def flush(self, tensor: int) -> Price:
        """From the chip to DRAM."""
        ...

    def fault(self, step: int) -> Exception:
        """Why a step fits with no choice."""
        ...


@dataclass(frozen=True)
class StepChoice:
    """What a keep vector means at one step.

    `on`: tensors of the step that it finds, or leaves, on chip; `loaded`, `filled`, `flushed`: whole tensors
    that move; `occupied_bits`: what lives on chip, `free_bits`: what remains (None: unlimited).
    """

    step: int
    on: frozenset[int]
    occupied_bits: int
    free_bits: int | None
    loaded: tuple[int, ...] = ()
    filled: tuple[int, ...] = ()
    flushed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Option:
    """Tensors on chip, what the step costs then, and the free bits from which this price holds.

    `pinned`: the step's weights stay on chip too.
    """

    on: frozenset[int]
    energy: float
    need_bits: int
    pinned: bool = False


class OptionPrices(StepPrices, Protocol):
    """Step prices that can be listed."""

    def options(self, step: int) -> Sequence[Option]:
        """All prices of a step, at every number of free bits; lower bounds until they are made exact."""
        ...


def loaded_or_filled(
    prices: StepPrices, step: int, on: frozenset[int], fetched: Sequence[int], free_bits: int | None
) -> tuple[Price, frozenset[int]] | None:
    """The cheapest way to have the tensors `fetched` on chip from this step on, and which of them are loaded.

    None when the step does not fit either way.
    """
    best: tuple[Price, frozenset[int]] | None = None
    for choice in product((True, False), repeat=len(fetched)):
        loads = frozenset(tensor for load, tensor in zip(choice, fetched, strict=True) if load)
        price = prices.step(step, on | loads, free_bits)
        if price is None:
            continue
        energy, bits = price
        for tensor in fetched:
            moved = prices.load(tensor) if tensor in loads else prices.fill(tensor)
            energy, bits = energy + moved[0], bits + moved[1]
        if best is None or (energy, bits) < best[0]:
            best = ((energy, bits), loads)
    return best


def choices_of(
    length: int,
    tensors: Sequence[FeatureMap],
    kept: Mapping[str, tuple[bool, ...]],
    capacity_bits: int | None,
    prices: StepPrices,
) -> tuple[Price, tuple[StepChoice, ...]] | None:
    """Price and choices of a keep vector over `length` steps; None when a step does not fit.

    This is the definition that the optimum is checked against.
    """
    on, fetched, flushed = ([set[int]() for _ in range(length)] for _ in range(3))
    occupied = [0] * length
    for index, tensor in enumerate(tensors):
        keeps = kept[tensor.name]
        here: set[int] = set()
        for place, (keep, (first, last)) in enumerate(zip(keeps, tensor.gaps, strict=True)):
            if not keep:
                continue
            here.update(range(max(first, 0), last + 1))
            on[last].add(index)
            if place == 0 and first > BEFORE:
                on[first].add(index)
            elif not (place and keeps[place - 1]):
                fetched[first].add(index)
        for step in here:
            occupied[step] += tensor.size_bits
        if keeps and keeps[0] and (tensor.is_output or not all(keeps)):
            flushed[tensor.producer].add(index)
    energy, bits, choices = 0.0, 0, []
    for step in range(length):
        free = None if capacity_bits is None else capacity_bits - occupied[step]
        if free is not None and free < 0:
            return None
        wanted = sorted(fetched[step])
        found = loaded_or_filled(prices, step, frozenset(on[step]), wanted, free)
        if found is None:
            return None
        price, loads = found
        energy, bits = energy + price[0], bits + price[1]
        for tensor_index in sorted(flushed[step]):
            moved = prices.flush(tensor_index)
            energy, bits = energy + moved[0], bits + moved[1]
        choices.append(
            StepChoice(
                step,
                frozenset(on[step]) | loads,
                occupied[step],
                free,
                tuple(sorted(loads)),
                tuple(index for index in wanted if index not in loads),
                tuple(sorted(flushed[step])),
            )
        )
    return (energy, bits), tuple(choices)


class TrafficPrices:
    """Every tensor that crosses DRAM moves once per read or write; a step needs its buffers."""

    def __init__(self, steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int) -> None:
        self._steps = steps
        self._sizes = [tensor.size_bits for tensor in tensors]
        self._capacity_bits = capacity_bits
        index = {tensor.name: number for number, tensor in enumerate(tensors)}
        self._streaming = [
            {index[name]: bits for name, bits in step.streaming_bits.items()} for step in steps
        ]
        self._moved = [dict(self._crossing(number, tensors)) for number in range(len(steps))]

    @staticmethod
    def _crossing(step: int, tensors: Sequence[FeatureMap]) -> Iterator[tuple[int, int]]:
        """Tensors of a step that cross DRAM when they are not on chip, and their size."""
        for number, tensor in enumerate(tensors):
            written = step == tensor.producer and (tensor.is_output or bool(tensor.uses))
            if written or step in tensor.uses:
                yield number, tensor.size_bits

    def step(self, step: int, on: frozenset[int], free_bits: int | None) -> Price | None:
        """The bits of the step's tensors that are not on chip."""
        need = self._steps[step].need_bits
        need += sum(bits for number, bits in self._streaming[step].items() if number not in on)
        if free_bits is not None and need > free_bits:
            return None
        bits = sum(size for number, size in self._moved[step].items() if number not in on)
        return bits, bits

    def load(self, tensor: int) -> Price:
        """Its size."""
        return self._sizes[tensor], self._sizes[tensor]

    def fill(self, tensor: int) -> Price:
        """Nothing: on-chip moves have no price here."""
        return 0, 0

    def flush(self, tensor: int) -> Price:
        """Its size."""
        return self._sizes[tensor], self._sizes[tensor]

    def fault(self, step: int) -> Exception:
        """The step's buffers do not fit."""
        return too_small(self._steps[step], self._capacity_bits)
