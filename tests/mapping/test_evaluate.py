"""Prices and cycles of a given mapping: goldens of mapping.md section 3, laws of energy.md section 7."""

import math
import random
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.evaluate import Evaluation, Mode, TensorCost, evaluate
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.packing import words
from bitjoule.mapping.problem import Problem
from tests.mapping.eyeriss_like import ALL, best, eyeriss_like, pointwise
from tests.mapping.random_nests import random_case, with_levels


def cost(evaluation: Evaluation, level: str, tensor: str) -> TensorCost:
    tensors = next(entry for entry in evaluation.levels if entry.name == level).tensors
    return next(entry for entry in tensors if entry.tensor == tensor)


@pytest.mark.parametrize(
    ("bits", "mode", "packing", "energy_pj", "cycles", "bounding"),
    [
        ((None, None, None, None), "native", "floor", 45_635_403.046, 64_512, "compute"),
        ((4, 4, 4, None), "paper", "floor", 22_700_977.166, 64_512, "compute"),
        ((5, 3, 6, None), "paper", "floor", 33_173_705.372, 64_512, "compute"),
        ((4, 4, 4, 16), "physical", "floor", 28_719_093.605, 84_672, "shared_glb writes"),
        ((8, 8, 8, 16), "physical", "floor", 47_903_211.818, 94_080, "shared_glb writes"),
        ((5, 3, 6, 16), "physical", "dense", 28_759_227.276, 82_320, "shared_glb writes"),
    ],
)
def test_goldens_of_eyeriss(
    bits: tuple[int | None, ...], mode: Mode, packing: str, energy_pj: float, cycles: int, bounding: str
) -> None:
    hardware = replace(eyeriss_like(), packing=packing)  # type: ignore[arg-type]
    evaluation = evaluate(pointwise(*bits), best(), hardware, mode=mode)
    assert evaluation.energy_pj == pytest.approx(energy_pj, abs=5e-4)
    assert (evaluation.latency_cycles, evaluation.compute_cycles) == (cycles, 64_512)
    assert evaluation.bounding == bounding
    assert evaluation.valid
    assert evaluation.utilization == pytest.approx(2 / 3 * 64_512 / cycles)


def test_words_accesses_and_prices_of_one_level() -> None:
    evaluation = evaluate(pointwise(4, 4, 4, 16), best(), eyeriss_like())
    sums = cost(evaluation, "shared_glb", "outputs")
    assert (sums.bits, sums.partial) == (16, True)
    assert (sums.update_words, sums.read_words, sums.fill_words) == (1_204_224, 1_053_696, 0)
    assert (sums.update_accesses, sums.read_accesses) == (150_528, 131_712)
    assert sums.update_pj == 150_528 * 14.137929
    assert cost(evaluation, "shared_glb", "inputs").fill_words == 150_528
    done = cost(evaluation, "DRAM", "outputs")
    assert (done.bits, done.partial, done.updates, done.final_updates) == (4, False, 75_264, 75_264)
    assert done.update_words == 37_632
    spad = next(level for level in evaluation.levels if level.name == "weights_spad")
    assert spad.leak_pj == pytest.approx(0.001592 * 84_672 * 112)
    assert (evaluation.mac_instances, evaluation.macs) == (112, 7_225_344)


def test_native_mode_has_no_bits() -> None:
    native = evaluate(pointwise(4, 4, 4, 16), best(), eyeriss_like(), mode="native")
    assert native.energy_pj == evaluate(pointwise(), best(), eyeriss_like()).energy_pj
    assert {entry.bits for level in native.levels for entry in level.tensors} == {None}


def spilling(rf: StorageLevel, dram: StorageLevel, hardware: dict[str, object] | None = None) -> Evaluation:
    """K 4, C 6 on 3 units: C in the outer loop, so every partial sum goes to dram and back."""
    problem = Problem(
        "spill",
        (1, 1, 4, 6, 1, 1, 1, 1),
        weight_bits=8,
        input_bits=8,
        output_bits=8,
        psum_bits=32,
        mac_pj=2.0,
    )
    accelerator = replace(Accelerator("a", (rf, dram), 3), **(hardware or {}))  # type: ignore[arg-type]
    mapping = Mapping((LevelNest("rf", ALL), LevelNest("dram", ALL, (("K", 4), ("C", 2)), x=(("C", 3),))))
    return evaluate(problem, mapping, accelerator)


def test_the_last_visit_of_a_partial_outermost_level_stores_results() -> None:
    """8 updates and 4 reads of dram: 4 updates at 8 bits, 4 at 32, the reads at 32."""
    done = cost(spilling(StorageLevel("rf", ALL), StorageLevel("dram", ALL, x=Axis(3))), "dram", "outputs")
    assert (done.updates, done.reads, done.final_updates, done.partial, done.bits) == (8, 4, 4, True, 32)
    assert (done.update_words, done.read_words, done.tile_words) == (2 + 8, 8, 8)


def test_drains_are_charged_where_the_hardware_says_so() -> None:
    dram = StorageLevel("dram", ALL, x=Axis(3))
    plain = cost(spilling(StorageLevel("rf", ALL), dram), "rf", "outputs")
    drained = cost(spilling(StorageLevel("rf", ALL, charge_drain=True), dram), "rf", "outputs")
    assert (plain.reads, plain.updates, plain.fills) == (4, 8, 4)
    assert drained.reads == plain.reads + 8
    assert (
        cost(spilling(StorageLevel("rf", ALL), replace(dram, charge_drain=True)), "dram", "outputs").reads
        == 4
    )


def test_the_network_is_paid_per_receiver() -> None:
    dram = StorageLevel("dram", ALL, x=Axis(3), noc_pj_per_word=0.5)
    evaluation = spilling(StorageLevel("rf", ALL, word_bits=8, noc_pj_per_word=9.0), dram)
    inputs = cost(evaluation, "dram", "inputs")
    assert (inputs.reads, inputs.noc_words) == (6, 2 * 3)
    outputs = cost(evaluation, "dram", "outputs")
    # 4 partial sums of 32 bits come back to each of 3 units with 8-bit words, 8 updates go up (2 + 8 words)
    assert outputs.noc_words == 3 * 4 * 4 + 10
    assert outputs.noc_pj == 0.5 * 58
    assert cost(evaluation, "rf", "inputs").noc_pj == 0


def test_a_cluster_that_is_not_full_takes_an_access_too() -> None:
    """Three instances in clusters of two: one access for the pair, one for the third."""
    shared = StorageLevel("rf", ALL, word_bits=8, width_bits=16, cluster=2)
    pair = Accelerator("pair", (shared, StorageLevel("dram", ALL, x=Axis(3))), 3)
    for used, clusters in ((3, 2), (1, 1)):
        problem = Problem("p", (1, 1, 3, 1, 1, 1, 1, 1))
        spatial, temporal = (("K", used),), (("K", 3 // used),)
        mapping = Mapping((LevelNest("rf", ALL), LevelNest("dram", ALL, temporal, spatial)))
        found = cost(evaluate(problem, mapping, pair, mode="native"), "rf", "weights")
        assert (found.instances, found.clusters) == (used, clusters)
        assert found.read_accesses == clusters * found.read_words


def test_one_access_serves_a_cluster() -> None:
    shared = StorageLevel("rf", ALL, word_bits=8, width_bits=24, cluster=3, read_pj=2.0)
    weights = cost(spilling(shared, StorageLevel("dram", ALL, x=Axis(3))), "rf", "weights")
    assert (weights.instances, weights.clusters, weights.read_words) == (3, 1, 8)
    assert (weights.read_accesses, weights.read_pj) == (8, 16.0)


def test_units_of_another_speed_and_their_leakage() -> None:
    rf, dram = StorageLevel("rf", ALL), StorageLevel("dram", ALL, x=Axis(3))
    assert spilling(rf, dram).compute_cycles == 8
    evaluation = spilling(rf, dram, {"mac_leak_pj_per_cycle": 0.25})
    assert (evaluation.mac_energy_pj, evaluation.mac_leak_pj) == (48.0, 0.25 * 8 * 3)
    assert evaluation.energy_pj == 54.0
    problem = Problem("p", (1, 1, 1, 3, 1, 1, 1, 1), macs_per_cycle=1 / 3)
    mapping = Mapping((LevelNest("rf", ALL, (("C", 3),)), LevelNest("dram", ALL)))
    slow = evaluate(problem, mapping, Accelerator("a", (rf, dram), 3))
    assert (slow.compute_cycles, slow.utilization) == (9, pytest.approx(1 / 3))
    fast = evaluate(replace(problem, macs_per_cycle=2.0), mapping, Accelerator("a", (rf, dram), 3))
    assert fast.compute_cycles == 2


def test_what_does_not_fit_is_counted_and_named() -> None:
    eyeriss = eyeriss_like()
    small = replace(eyeriss, mac_count=100)
    small = replace(
        small,
        levels=tuple(
            replace(level, words={"psum_spad": 2, "shared_glb": 10_000}[level.name])
            if level.name in ("psum_spad", "shared_glb")
            else replace(level, y=Axis(4, ("C",)))
            if level.name == "inter_PE_spatial"
            else level
            for level in eyeriss.levels
        ),
    )
    whole = evaluate(pointwise(8, 8, 8, 16), best(), eyeriss)
    evaluation = evaluate(pointwise(8, 8, 8, 16), best(), small)
    assert evaluation.energy_pj == whole.energy_pj
    assert not evaluation.valid
    assert evaluation.violations == (
        "psum_spad: tiles need 3 words (outputs 3), there are 2 of 16 bits",
        "inter_PE_spatial: fan-out y is 8, the hardware has 4",
        "inter_PE_spatial: K may not be unrolled on y (dims C)",
        "shared_glb: tiles need 16128 words (inputs 10752, outputs 5376), there are 10000 of 8 bits",
        "mac: 112 units are used, the hardware has 100",
    )


def test_a_resident_tensor_takes_no_room_and_no_dram() -> None:
    inner = eyeriss_like().resident("shared_glb", ("inputs",), 5376)
    mapping = with_levels(best(), DRAM=replace(best().levels[-1], keeps=("weights", "outputs")))
    evaluation = evaluate(pointwise(8, 8, 8, 16), mapping, inner)
    assert evaluation.valid
    held = cost(evaluation, "shared_glb", "inputs")
    whole = cost(evaluate(pointwise(8, 8, 8, 16), best(), eyeriss_like()), "shared_glb", "inputs")
    assert (held.fills, held.reads) == (0, whole.reads)
    assert [entry.tensor for entry in evaluation.levels[-1].tensors] == ["weights", "outputs"]
    tight = eyeriss_like().resident("shared_glb", ("inputs",), 5375)
    assert evaluate(pointwise(8, 8, 8, 16), mapping, tight).violations == (
        "shared_glb: tiles need 5376 words (outputs 5376), there are 5375 of 8 bits",
    )


@pytest.mark.parametrize(
    ("problem", "mode", "text"),
    [
        (
            pointwise(4, 4, 16),
            "paper",
            "layer 'L1' in paper mode: outputs have 16 bits, level 'shared_glb' takes 1..8; "
            "use mode physical, or words of at least 16 bits",
        ),
        (pointwise(), "paper mode", "mode must be one of physical, paper, native, not 'paper mode'"),
        (pointwise(4, 4, 4), "physical", "layer 'L1': outputs of 4 bits need psum_bits in physical mode"),
    ],
)
def test_refusals(problem: Problem, mode: Mode, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        evaluate(problem, best(), eyeriss_like(), mode=mode)


cases = st.randoms(use_true_random=False).map(lambda rng: random_case(rng, most_macs=5000))


@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_the_parts_sum_to_the_whole(case: tuple[Problem, Mapping, Accelerator]) -> None:
    evaluation = evaluate(*case)
    parts = [evaluation.mac_energy_pj, evaluation.mac_leak_pj]
    for level in evaluation.levels:
        parts.append(level.leak_pj)
        for entry in level.tensors:
            parts += [entry.energy_pj, entry.noc_pj]
    assert math.fsum(parts) == pytest.approx(evaluation.energy_pj, rel=1e-12)
    assert all(part >= 0 for part in parts)
    assert evaluation.latency_cycles >= evaluation.compute_cycles
    assert (evaluation.bounding == "compute") == (evaluation.latency_cycles == evaluation.compute_cycles)


@settings(max_examples=200, deadline=None)
@given(
    case=cases,
    which=st.sampled_from(("weight_bits", "input_bits", "output_bits", "psum_bits")),
    data=st.data(),
)
def test_fewer_bits_never_cost_more(
    case: tuple[Problem, Mapping, Accelerator], which: str, data: st.DataObject
) -> None:
    problem, mapping, accelerator = case
    bits = getattr(problem, which)
    least = problem.output_bits or 1 if which == "psum_bits" else 1
    assume(bits > least)
    fewer = replace(problem, **{which: data.draw(st.integers(least, bits - 1))})
    here, there = evaluate(problem, mapping, accelerator), evaluate(fewer, mapping, accelerator)
    assert there.energy_pj <= here.energy_pj
    assert there.latency_cycles <= here.latency_cycles
    assert len(there.violations) <= len(here.violations)


@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_paper_mode_never_moves_more_words_of_outputs(case: tuple[Problem, Mapping, Accelerator]) -> None:
    problem, mapping, accelerator = case
    floor = replace(accelerator, packing="floor")
    narrow = replace(problem, weight_bits=8, input_bits=8, output_bits=min(8, problem.output_bits or 8))
    paper, physical = (evaluate(narrow, mapping, floor, mode=mode) for mode in ("paper", "physical"))
    for ours, theirs in zip(paper.levels, physical.levels, strict=True):
        for one, other in zip(ours.tensors, theirs.tensors, strict=True):
            assert one.tile_words <= other.tile_words
            assert one.read_words <= other.read_words
            assert one.fill_words <= other.fill_words
            assert one.update_words <= other.update_words
            assert one.tensor == "outputs" or one.read_words == other.read_words


@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_dense_packing_is_never_dearer(case: tuple[Problem, Mapping, Accelerator]) -> None:
    problem, mapping, accelerator = case
    floor, dense = (evaluate(problem, mapping, replace(accelerator, packing=p)) for p in ("floor", "dense"))
    assert dense.energy_pj <= floor.energy_pj
    assert dense.latency_cycles <= floor.latency_cycles


@settings(max_examples=50, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_words_are_those_of_packing(rng: random.Random) -> None:
    problem, mapping, accelerator = random_case(rng)
    evaluation = evaluate(problem, mapping, accelerator)
    for level, here in zip(accelerator.levels, evaluation.levels, strict=True):
        for entry in here.tensors:
            for elements, packed in (
                (entry.tile, entry.tile_words),
                (entry.reads, entry.read_words),
                (entry.fills, entry.fill_words),
            ):
                assert packed == words(elements, entry.bits, level.word_bits, accelerator.packing)
