"""Closed form against worked examples, against the slow walk, and the laws it obeys."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.counts import count, distinct_offsets
from bitjoule.mapping.interpreter import interpret
from bitjoule.mapping.nest import LevelNest, Loop, Mapping
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.tally import Counts, TensorTally
from tests.mapping.eyeriss_like import ALL, best, eyeriss_like, pointwise
from tests.mapping.random_nests import random_case

BUFFERED = Accelerator("buffered", (StorageLevel("buffer", ALL), StorageLevel("dram", ALL)), 1)


def tally(counts: Counts, level: str, tensor: str) -> TensorTally:
    entries = next(entry for entry in counts.levels if entry.name == level).tensors
    return next(entry for entry in entries if entry.tensor == tensor)


def input_fills(problem: Problem, inside: tuple[Loop, ...], outside: tuple[Loop, ...]) -> int:
    mapping = Mapping((LevelNest("buffer", ALL, inside), LevelNest("dram", ALL, outside)))
    return tally(count(problem, mapping, BUFFERED), "buffer", "inputs").fills


@pytest.mark.parametrize(
    ("stride", "outside", "fills"),
    [
        (1, (("P", 4),), 10),
        (1, (("K", 2), ("P", 4)), 10),
        (1, (("P", 4), ("K", 2)), 20),
        (2, (("P", 4),), 17),
    ],
)
def test_example_1_one_axis(stride: int, outside: tuple[Loop, ...], fills: int) -> None:
    k = dict(outside).get("K", 1)
    problem = Problem("e1", (1, 1, k, 1, 8, 1, 3, 1), stride=(stride, 1))
    assert input_fills(problem, (("R", 3), ("P", 2)), outside) == fills


def test_example_2_the_image_once() -> None:
    problem = Problem("eye-L0-r07", (1, 1, 32, 3, 112, 112, 3, 3), stride=(2, 2))
    inside = (("K", 8), ("C", 3), ("P", 112), ("R", 3), ("S", 3), ("Q", 14))
    assert input_fills(problem, inside, (("K", 4), ("Q", 8))) == 151_875 == problem.elements("inputs")


def test_example_3_a_window_that_starts_again() -> None:
    problem = Problem("eye-L5-r03", (1, 1, 8, 512, 7, 7, 3, 3))
    inside = (("C", 256), ("R", 3), ("S", 3))
    assert input_fills(problem, inside, (("P", 7), ("Q", 7), ("K", 8), ("C", 2))) == 774_144


def test_example_4_eyeriss() -> None:
    counts = count(pointwise(), best(), eyeriss_like())
    weights, dram = tally(counts, "weights_spad", "weights"), tally(counts, "DRAM", "weights")
    assert (weights.tile, weights.fills, dram.reads) == (36, 8_064, 64_512)
    ifmap, glb = tally(counts, "ifmap_spad", "inputs"), tally(counts, "shared_glb", "inputs")
    assert (ifmap.tile, ifmap.fills, glb.reads) == (12, 21_504, 301_056)
    psum = tally(counts, "psum_spad", "outputs")
    assert (psum.updates, psum.first_updates, psum.reads, psum.fills) == (64_512, 672, 63_840, 4_704)
    sums = tally(counts, "shared_glb", "outputs")
    assert (sums.updates, sums.reads, sums.fills, sums.partial) == (602_112, 526_848, 0, True)
    done = tally(counts, "DRAM", "outputs")
    assert (done.updates, done.reads, done.fills, done.partial) == (75_264, 0, 0, False)
    assert [level.instances for level in counts.levels] == [112, 112, 112, 14, 1, 1, 1]
    assert (counts.steps, counts.mac_instances, counts.macs) == (64_512, 112, 7_225_344)


def test_example_5_stride_two() -> None:
    problem = Problem("sim-L6-r02", (1, 1, 4, 64, 28, 28, 1, 1), stride=(2, 2))
    inside = (("C", 16), ("P", 2), ("Q", 14))
    outside = (("K", 2), ("C", 2), ("P", 7), ("C", 2), ("P", 2), ("Q", 2), ("K", 2))
    assert input_fills(problem, inside, outside) == 1_296 * 2 * 7 * 2 * 2 * 2 * 2 == 290_304
    fewer = Problem("sim-L6-r02", (1, 1, 2, 64, 28, 28, 1, 1), stride=(2, 2))
    assert input_fills(fewer, inside, outside[:-1]) == 145_152


@given(m=st.integers(1, 12), a=st.integers(1, 12), n=st.integers(1, 12), b=st.integers(1, 12))
def test_distinct_offsets(m: int, a: int, n: int, b: int) -> None:
    assert distinct_offsets(m, a, n, b) == len({a * i + b * j for i in range(m) for j in range(n)})


def test_neighbours_meet_by_what_lies_between_them() -> None:
    """Units hold P 2 each; P 2 and R 2 on one fan-out lie at 2 p + r: four places, not the three of p + r."""
    problem = Problem("m", (1, 1, 1, 1, 4, 1, 2, 1))
    mapping = Mapping((LevelNest("buffer", (), (("P", 2),)), LevelNest("dram", ALL, x=(("P", 2), ("R", 2)))))
    assert tally(count(problem, mapping, BUFFERED), "dram", "inputs").reads == 2 * 4


@settings(max_examples=200, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_the_closed_form_is_the_walk(rng: random.Random) -> None:
    case = random_case(rng)
    assert count(*case) == interpret(*case)


def test_the_closed_form_is_the_walk_on_two_thousand_cases() -> None:
    """Seeded, and the cases are not trivial: windows slide, sums spill, fan-outs merge, tensors reside."""
    seen = dict.fromkeys(("slides", "spills", "merges", "resides", "bypasses", "strides", "four levels"), 0)
    for seed in range(2000):
        problem, mapping, accelerator = case = random_case(random.Random(seed))
        counts = count(*case)
        assert counts == interpret(*case), seed
        inputs = [t for level in counts.levels for t in level.tensors if t.tensor == "inputs"]
        seen["slides"] += any(t.fills % t.tile for t in inputs)
        seen["spills"] += any(t.partial and t.reads for level in counts.levels[1:] for t in level.tensors)
        fans = [{dim for dim, bound in level.spatial if bound > 1} for level in mapping.levels]
        seen["merges"] += any({"P", "R"} <= fan or {"Q", "S"} <= fan for fan in fans)
        seen["resides"] += any(level.holds for level in accelerator.levels)
        seen["bypasses"] += any(
            a.keeps != m.keeps for a, m in zip(accelerator.levels, mapping.levels, strict=True)
        )
        seen["strides"] += problem.stride != (1, 1)
        seen["four levels"] += len(mapping.levels) == 4
    assert all(number >= 40 for number in seen.values()), seen


SWAPPED = {"P": "Q", "Q": "P", "R": "S", "S": "R"}


def transposed(loops: tuple[Loop, ...]) -> tuple[Loop, ...]:
    return tuple((SWAPPED.get(dim, dim), bound) for dim, bound in loops)


@settings(max_examples=100, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_rows_and_columns_are_alike(rng: random.Random) -> None:
    problem, mapping, accelerator = random_case(rng, most_macs=5000)
    n, g, k, c, p, q, r, s = problem.bounds
    turned = replace(
        problem, bounds=(n, g, k, c, q, p, s, r), stride=problem.stride[::-1], dilation=problem.dilation[::-1]
    )
    levels = [
        replace(level, temporal=transposed(level.temporal), x=transposed(level.x), y=transposed(level.y))
        for level in mapping.levels
    ]
    assert count(problem, mapping, accelerator) == count(turned, Mapping(tuple(levels)), accelerator)


@settings(max_examples=100, deadline=None)
@given(rng=st.randoms(use_true_random=False), dim=st.sampled_from("NG"), times=st.integers(2, 5))
def test_a_batch_or_groups_outside_multiply_everything(rng: random.Random, dim: str, times: int) -> None:
    problem, mapping, accelerator = random_case(rng, most_macs=5000)
    bounds = tuple(
        bound * times if here == dim else bound for here, bound in zip(DIMS, problem.bounds, strict=True)
    )
    outer = mapping.levels[-1]
    more = Mapping((*mapping.levels[:-1], replace(outer, temporal=(*outer.temporal, (dim, times)))))
    one = count(problem, mapping, accelerator)
    many = count(replace(problem, bounds=bounds), more, accelerator)  # type: ignore[arg-type]
    assert (many.macs, many.steps) == (one.macs * times, one.steps * times)
    if dim == "G":
        for level, other in zip(one.levels[:-1], many.levels[:-1], strict=True):
            for t, u in zip(level.tensors, other.tensors, strict=True):
                assert (u.tile, u.reads, u.updates) == (t.tile, t.reads * times, t.updates * times)


@settings(max_examples=100, deadline=None)
@given(rng=st.randoms(use_true_random=False), data=st.data())
def test_a_loop_of_bound_one_changes_nothing(rng: random.Random, data: st.DataObject) -> None:
    problem, mapping, accelerator = random_case(rng, most_macs=5000)
    place = data.draw(st.integers(0, len(mapping.levels) - 1))
    field = data.draw(st.sampled_from(("temporal", "x", "y")))
    level = mapping.levels[place]
    loops = getattr(level, field)
    at = data.draw(st.integers(0, len(loops)))
    idle = (*loops[:at], (data.draw(st.sampled_from(DIMS)), 1), *loops[at:])
    levels = list(mapping.levels)
    levels[place] = replace(level, **{field: idle})
    assert count(problem, mapping, accelerator) == count(problem, Mapping(tuple(levels)), accelerator)


@settings(max_examples=100, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_without_buffers_the_memory_runs_at_the_rate_of_the_macs(rng: random.Random) -> None:
    problem, mapping, accelerator = random_case(rng, most_macs=5000)
    temporal = [
        replace(level, temporal=(*level.temporal, *level.x, *level.y), x=(), y=()) for level in mapping.levels
    ]
    bare = [replace(level, keeps=()) for level in temporal[:-1]]
    free = replace(accelerator.levels[-1], keeps=ALL)
    hardware = replace(
        accelerator, levels=(*(replace(level, holds=()) for level in accelerator.levels[:-1]), free)
    )
    counts = count(problem, Mapping((*bare, replace(temporal[-1], keeps=ALL))), hardware)
    weights, inputs, outputs = counts.levels[-1].tensors
    assert weights.reads == inputs.reads == outputs.updates == problem.macs
    assert outputs.reads == problem.macs - problem.elements("outputs")
    assert all(not level.tensors for level in counts.levels[:-1])


@settings(max_examples=200, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_partial_sums_live_in_the_inner_levels(rng: random.Random) -> None:
    counts = count(*random_case(rng, most_macs=5000))
    partial = [t.partial for level in counts.levels for t in level.tensors if t.tensor == "outputs"]
    assert partial == sorted(partial, reverse=True)


@settings(max_examples=200, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_what_a_parent_gives_its_children_take(rng: random.Random) -> None:
    """Over all instances, fills are at least the reads (multicast) and every tensor arrives as a whole."""
    problem, mapping, accelerator = random_case(rng, most_macs=5000)
    accelerator = replace(
        accelerator, levels=tuple(replace(level, charge_drain=False) for level in accelerator.levels)
    )
    counts = count(problem, mapping, accelerator)
    for tensor in ("weights", "inputs"):
        chain = [(level, t) for level in counts.levels for t in level.tensors if t.tensor == tensor]
        for (inner, child), (outer, parent) in pairwise(chain):
            assert child.fills * inner.instances >= parent.reads * outer.instances
        if tensor == "weights":
            assert chain[-1][1].reads * chain[-1][0].instances >= problem.elements("weights")
    stores = [(level, t) for level in counts.levels for t in level.tensors if t.tensor == "outputs"]
    assert stores[-1][1].updates * stores[-1][0].instances >= problem.elements("outputs")
    assert all(t.reads >= 0 and t.fills >= 0 for _, t in stores)
