"""Residency with a price per step: the dynamic programme and the 0/1 programme against enumeration."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import pytest

from bitjoule.energy.feature_map import BEFORE, FeatureMap
from bitjoule.energy.priced_program import cheapest_by_program
from bitjoule.energy.residency_prices import Option, Price, choices_of
from bitjoule.energy.residency_states import cheapest_by_states


class NothingFits(Exception):
    """Raised by `fault`."""


@dataclass
class Table:
    """Prices by step and tensors on chip: (free bits from which it holds, energy), falling with room."""

    steps: list[dict[frozenset[int], list[tuple[int, int]]]]
    loads: list[int]
    fills: list[int]
    flushes: list[int]

    def step(self, step: int, on: frozenset[int], free_bits: int | None) -> Price | None:
        assert free_bits is not None
        fitting = [energy for need, energy in self.steps[step].get(on, []) if need <= free_bits]
        return (min(fitting), 2 * min(fitting)) if fitting else None

    def load(self, tensor: int) -> Price:
        return self.loads[tensor], 1

    def fill(self, tensor: int) -> Price:
        return self.fills[tensor], 0

    def flush(self, tensor: int) -> Price:
        return self.flushes[tensor], 1

    def fault(self, step: int) -> Exception:
        return NothingFits(step)

    def options(self, step: int) -> Sequence[Option]:
        return [Option(on, energy, need) for on, rows in self.steps[step].items() for need, energy in rows]


def random_problem(seed: int) -> tuple[int, tuple[FeatureMap, ...], int, Table]:
    draw = random.Random(seed)
    length = draw.randint(1, 5)
    tensors: list[FeatureMap] = []
    gaps = 0
    for index in range(draw.randint(1, 6)):
        producer = draw.randint(BEFORE, length - 1)
        later = range(max(producer + 1, 0), length)
        uses = tuple(sorted(draw.sample(later, min(len(later), draw.randint(0, 3)))))
        gaps += len(uses)
        if gaps > 8:
            break
        tensors.append(FeatureMap(f"t{index}", draw.randint(1, 20), producer, uses, draw.random() < 0.3))
    steps = []
    for step in range(length):
        touched = [n for n, t in enumerate(tensors) if step == t.producer or step in t.uses]
        masks: dict[frozenset[int], list[tuple[int, int]]] = {}
        for choice in product((False, True), repeat=len(touched)):
            on = frozenset(n for keep, n in zip(choice, touched, strict=True) if keep)
            if on and draw.random() < 0.15:
                continue  # cannot be
            need, energy = draw.randint(0, 12), draw.randint(20, 60) - 6 * len(on)
            rows = [(need, energy)]
            for _ in range(draw.randint(0, 2)):
                need, energy = need + draw.randint(1, 8), energy - draw.randint(1, 9)
                rows.append((need, max(0, energy)))
            masks[on] = rows
        steps.append(masks)
    moves = [[draw.randint(0, 25) for _ in tensors] for _ in range(3)]
    return length, tuple(tensors), draw.randint(5, 50), Table(steps, *moves)


def keep_vectors(tensors: tuple[FeatureMap, ...]) -> Iterator[dict[str, tuple[bool, ...]]]:
    """In lexicographic order; the first gap of a network input is never kept."""
    gaps = [(tensor, first) for tensor in tensors for first, _ in tensor.gaps]
    for vector in product((False, True), repeat=len(gaps)):
        if any(keep and first < 0 for keep, (_, first) in zip(vector, gaps, strict=True)):
            continue
        kept, place = {}, 0
        for tensor in tensors:
            kept[tensor.name] = vector[place : place + len(tensor.gaps)]
            place += len(tensor.gaps)
        yield kept


def enumerated(
    length: int, tensors: tuple[FeatureMap, ...], capacity: int, prices: Table
) -> tuple[Price, dict[str, tuple[bool, ...]]] | None:
    best: tuple[Price, dict[str, tuple[bool, ...]]] | None = None
    for kept in keep_vectors(tensors):
        priced = choices_of(length, tensors, kept, capacity, prices)
        if priced is not None and (best is None or priced[0] < best[0]):
            best = priced[0], kept
    return best


def test_states_and_programme_equal_enumeration_on_300_random_graphs() -> None:
    infeasible = between = 0
    for seed in range(300):
        length, tensors, capacity, prices = random_problem(seed)
        golden = enumerated(length, tensors, capacity, prices)
        if golden is None:
            infeasible += 1
            with pytest.raises(NothingFits):
                cheapest_by_states(length, tensors, capacity, prices)
            continue
        assert cheapest_by_states(length, tensors, capacity, prices) == golden[1], seed
        between += any(True in keeps for keeps in golden[1].values())
        if seed % 3 == 0:
            kept, _ = cheapest_by_program(length, tensors, capacity, prices)
            priced = choices_of(length, tensors, kept, capacity, prices)
            assert priced is not None and priced[0][0] == golden[0][0], seed
    assert infeasible > 5 and between > 60


def test_a_tensor_that_comes_back_is_loaded_or_filled_whichever_is_cheaper() -> None:
    # t is streamed at step 0 and kept to step 1; being on chip at step 0 saves 30
    tensors = (FeatureMap("t", 4, BEFORE, (0, 1)),)
    on, off = frozenset({0}), frozenset[int]()
    steps = [{off: [(0, 50)], on: [(0, 20)]}, {off: [(0, 100)], on: [(0, 10)]}]
    for load, fill, energy in ((60, 20, 50 + 20 + 10), (60, 5, 50 + 5 + 10), (15, 20, 20 + 15 + 10)):
        prices = Table(steps, [load], [fill], [99])  # type: ignore[arg-type]
        kept = cheapest_by_states(2, tensors, 4, prices)
        assert kept == {"t": (False, True)}
        priced = choices_of(2, tensors, kept, 4, prices)
        assert priced is not None and priced[0][0] == energy
        assert (priced[1][0].loaded, priced[1][0].filled) == (((0,), ()) if load < 40 else ((), (0,)))


def test_an_output_on_chip_is_flushed_once() -> None:
    tensors = (FeatureMap("t", 4, 0, (1, 2), is_output=True),)
    prices = Table([{frozenset({0}): [(0, 1)]}] * 3, [9], [9], [7])
    kept = {"t": (True, True)}
    priced = choices_of(3, tensors, kept, 4, prices)
    assert priced is not None and priced[0][0] == 3 + 7
    assert [choice.flushed for choice in priced[1]] == [(0,), (), ()]
    assert choices_of(3, tensors, kept, 3, prices) is None


def test_fifty_layers_with_shortcuts_take_less_than_a_second() -> None:
    length = 54
    tensors = tuple(
        FeatureMap(f"t{step}", 5 + step % 7, step, (step + 1,) if step % 3 else (step + 1, step + 3))
        for step in range(length - 3)
    )
    steps: list[dict[frozenset[int], list[tuple[int, int]]]] = []
    for step in range(length):
        touched = [n for n, t in enumerate(tensors) if step == t.producer or step in t.uses]
        masks = [
            frozenset(n for keep, n in zip(choice, touched, strict=True) if keep)
            for choice in product((False, True), repeat=len(touched))
        ]
        steps.append({on: [(3, 60 - 9 * len(on)), (9, 50 - 9 * len(on))] for on in masks})
    moves = [[7] * len(tensors)] * 3
    started = time.process_time()
    kept = cheapest_by_states(length, tensors, 30, Table(steps, *moves))
    assert time.process_time() - started < 1.0
    assert 10 < sum(map(sum, kept.values())) < sum(len(tensor.uses) for tensor in tensors)
