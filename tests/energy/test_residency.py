"""Residency: golden optima, and the optimum against enumeration of all choices on random graphs."""

from __future__ import annotations

import random
from itertools import product

import pytest

from bitjoule.energy import FeatureMap, Infeasible, ResidencyPlan, Step, residency
from bitjoule.energy.feature_map import plan_of
from bitjoule.energy.residency import nothing_kept
from bitjoule.energy.residency_program import keep_by_program
from bitjoule.energy.residency_states import keep_by_states

# energy.md 5.1, pure-traffic form: size; producer; uses. Working need 8 at each of 5 steps.
GOLDEN_TENSORS = (
    FeatureMap("x", 12, -1, (0,)),
    FeatureMap("a", 32, 0, (1, 3)),
    FeatureMap("b", 24, 1, (2,)),
    FeatureMap("c", 32, 2, (3,)),
    FeatureMap("d", 32, 3, (4,)),
    FeatureMap("y", 4, 4, (), is_output=True),
)
GOLDEN_STEPS = tuple(Step(f"step{index}", 8) for index in range(5))


@pytest.mark.parametrize(
    ("capacity", "traffic", "kept"),
    [
        (16, 288, ""),
        (40, 176, "b d"),
        (64, 144, "a0 b d"),
        (72, 80, "a0 b c d"),
        (80, 80, "a0 b c d"),
        (96, 80, "a0 b c d"),
        (104, 16, "a0 a1 b c d"),
        (None, 16, "a0 a1 b c d"),
    ],
)
def test_golden(capacity: int | None, traffic: int, kept: str) -> None:
    plan = residency(GOLDEN_STEPS, GOLDEN_TENSORS, capacity)
    names = [
        f"{name}{gap}" if len(choice) > 1 else name
        for name, choice in plan.kept.items()
        for gap, keep in enumerate(choice)
        if keep
    ]
    assert plan.traffic_bits == traffic
    assert " ".join(names) == kept
    assert capacity is None or max(plan.occupied_bits) <= capacity


def enumerated(
    steps: tuple[Step, ...], tensors: tuple[FeatureMap, ...], capacity: int
) -> ResidencyPlan | None:
    """Every keep vector in lexicographic order; the first of least traffic that fits."""
    best: ResidencyPlan | None = None
    gaps = [(tensor, first) for tensor in tensors for first, _ in tensor.gaps]
    for vector in product((False, True), repeat=len(gaps)):
        if any(keep and first < 0 for keep, (_, first) in zip(vector, gaps, strict=True)):
            continue
        kept, place = {}, 0
        for tensor in tensors:
            kept[tensor.name] = vector[place : place + len(tensor.gaps)]
            place += len(tensor.gaps)
        plan = plan_of(steps, tensors, kept)
        fits = all(occupied <= capacity for occupied in plan.occupied_bits)
        if fits and (best is None or plan.traffic_bits < best.traffic_bits):
            best = plan
    return best


def random_problem(seed: int) -> tuple[tuple[Step, ...], tuple[FeatureMap, ...], int]:
    draw = random.Random(seed)
    length = draw.randint(1, 6)
    tensors, gaps = [], 0
    for index in range(draw.randint(1, 7)):
        producer = draw.randint(-1, length - 1)
        later = range(max(producer + 1, 0), length)
        uses = tuple(sorted(draw.sample(later, min(len(later), draw.randint(0, 3)))))
        gaps += len(uses)
        if gaps > 9:
            break
        tensors.append(FeatureMap(f"t{index}", draw.randint(1, 20), producer, uses, draw.random() < 0.2))
    steps = []
    for index in range(length):
        touched = [t for t in tensors if index == t.producer or index in t.uses]
        streaming = {t.name: draw.randint(0, t.size_bits) for t in touched if draw.random() < 0.5}
        steps.append(Step(f"s{index}", draw.randint(0, 5), streaming))
    return tuple(steps), tuple(tensors), draw.randint(0, 60)


def test_states_equal_enumeration_and_programme_on_600_random_graphs() -> None:
    infeasible = real_choices = 0
    for seed in range(600):
        steps, tensors, capacity = random_problem(seed)
        golden = enumerated(steps, tensors, capacity)
        if golden is None:
            infeasible += 1
            with pytest.raises(Infeasible):
                residency(steps, tensors, capacity)
            continue
        assert plan_of(steps, tensors, keep_by_states(steps, tensors, capacity)) == golden, seed
        assert residency(steps, tensors, capacity) == golden, seed
        everything, nothing = residency(steps, tensors, None), nothing_kept(steps, tensors, None)
        real_choices += everything.traffic_bits < golden.traffic_bits < nothing.traffic_bits
        if seed % 6 == 0:
            programme = plan_of(steps, tensors, keep_by_program(steps, tensors, capacity))
            assert programme.traffic_bits == golden.traffic_bits, seed
            assert max(programme.occupied_bits) <= capacity
    assert infeasible > 20 and real_choices > 60


def test_many_live_tensors_go_to_the_programme() -> None:
    # 16 tensors made one after another and all used by the last step: more live than states are walked for.
    length = 17
    tensors = tuple(FeatureMap(f"t{i}", 10 + i, i, (length - 1,)) for i in range(16))
    steps = tuple(Step(f"s{i}") for i in range(length))
    plan = residency(steps, tensors, 100)
    kept_size = sum(tensor.size_bits for tensor in tensors if plan.kept[tensor.name][0])
    assert kept_size <= 100
    total = sum(tensor.size_bits for tensor in tensors)
    assert plan.traffic_bits == 2 * (total - 100)  # some subset of 10..25 sums to exactly 100


def test_nothing_fits() -> None:
    with pytest.raises(Infeasible) as caught:
        residency((Step("conv1", 9),), (FeatureMap("x", 4, -1, (0,)),), 8)
    assert str(caught.value) == (
        "conv1 needs 9 bits of feature-map memory even when every tensor is streamed, there are 8; "
        "give the memory more bits, or the tensors fewer"
    )
    with pytest.raises(Infeasible, match="conv1 needs 9 bits"):
        nothing_kept((Step("conv1", 9),), (), 8)


def test_nothing_kept_streams_everything() -> None:
    plan = nothing_kept(GOLDEN_STEPS, GOLDEN_TENSORS, None)
    assert plan.traffic_bits == 288
    assert len(plan.reads) == 6 and len(plan.writes) == 5


def test_more_memory_never_moves_more_bits() -> None:
    for seed in range(40):
        steps, tensors, _ = random_problem(seed)
        least = max(step.need_bits + sum(step.streaming_bits.values()) for step in steps)
        traffic = [residency(steps, tensors, least + extra).traffic_bits for extra in range(0, 60, 5)]
        assert traffic == sorted(traffic, reverse=True)


def test_feature_maps_are_checked() -> None:
    with pytest.raises(
        ValueError, match=r"feature map 't': size_bits must be >= 0, and uses \(3, 2\) must ascend"
    ):
        FeatureMap("t", 8, 0, (3, 2))
