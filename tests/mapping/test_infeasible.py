"""The report of a layer without a mapping: its text, its numbers, and that it is right."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import pytest

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.infeasible import InfeasibleMapping, LevelNeed, explain
from bitjoule.mapping.problem import TENSORS, Problem
from bitjoule.mapping.smallest_need import smallest_need
from tests.mapping.exhaustive import optima
from tests.mapping.toy import Case, random_case, weight

SPEC = """conv3 does not fit simba:
  glb holds 524288 bits; the smallest tiles need 601088 (inputs 532480, psums 68608): 76800 bits short
  what would mend it: inputs at <= 6 bits; allow inputs to bypass glb; glb.size_bits >= 601088"""


def conv(**settings: object) -> Problem:
    """A 3x3 convolution with 8-bit operands."""
    shape = {"bounds": (1, 1, 8, 16, 4, 4, 3, 3), "mac_pj": 1.0, "psum_bits": 24, **settings}
    return Problem("conv3", weight_bits=8, input_bits=8, output_bits=8, **shape)  # type: ignore[arg-type]


def hardware(**glb: object) -> Accelerator:
    """A global buffer that holds inputs and outputs, DRAM outside it, 8-bit words."""
    settings = {"keeps": ("inputs", "outputs"), "words": 64, "word_bits": 8, "x": Axis(4, ("K",)), **glb}
    levels = (StorageLevel("glb", **settings), StorageLevel("dram", TENSORS))  # type: ignore[arg-type]
    return Accelerator("tiny", levels, mac_count=4)


def report(problem: Problem, accelerator: Accelerator) -> str:
    found = explain(problem, accelerator)
    assert found is not None
    return str(found)


def test_text_of_the_specification() -> None:
    need = LevelNeed("glb", 524288, (("inputs", 532480), ("psums", 68608)))
    levers = ("inputs at <= 6 bits", "allow inputs to bypass glb", "glb.size_bits >= 601088")
    assert str(InfeasibleMapping("conv3", "simba", (need,), (), levers)) == SPEC


def test_a_memory_too_small() -> None:
    # DRAM iterates K, P, Q only: C, R, S lie inside, 16 channels of a 3x3 window; sums end there
    levels = hardware().levels
    outer = replace(levels[1], temporal_dims=("K", "P", "Q"))
    assert report(conv(), Accelerator("tiny", (levels[0], outer), mac_count=4)) == (
        "conv3 does not fit tiny:\n"
        "  glb holds 512 bits; the smallest tiles need 1176 (inputs 1152, psums 24): 664 bits short\n"
        "  what would mend it: inputs at <= 2 bits; allow inputs to bypass glb; glb.size_bits >= 1176"
    )


def test_sums_that_end_within_a_cycle_are_no_partial_sums() -> None:
    # the window is unrolled whole, so outputs leave finished, at 8 bits
    glb = hardware(x=Axis(9, ("R", "S")), words=9, temporal_dims=("K", "P", "Q")).levels[0]
    outer = StorageLevel("dram", TENSORS, temporal_dims=("K", "P", "Q"))
    unit = Accelerator("tiny", (glb, outer), mac_count=9)
    assert report(conv(bounds=(1, 1, 8, 1, 4, 4, 3, 3)), unit) == (
        "conv3 does not fit tiny:\n"
        "  glb holds 72 bits; the smallest tiles need 80 (inputs 72, outputs 8): 8 bits short\n"
        "  what would mend it: inputs at <= 4 bits; allow inputs to bypass glb; allow outputs to bypass glb; "
        "glb.size_bits >= 80"
    )


def test_either_of_two_levels_would_do() -> None:
    # C runs in rf, which then holds two inputs, or in DRAM, and glb holds partial sums of two words
    levels = (
        StorageLevel("rf", ("inputs", "outputs"), words=3, word_bits=8, temporal_dims=("C",)),
        StorageLevel("glb", ("outputs",), words=4, word_bits=8, temporal_dims=("P",)),
        StorageLevel("dram", TENSORS, word_bits=8, temporal_dims=("C",)),
    )
    problem = Problem(
        "fc", (1, 1, 1, 2, 4, 1, 1, 1), weight_bits=8, input_bits=8, output_bits=8, psum_bits=16
    )
    assert report(problem, Accelerator("two", levels, mac_count=1)) == (
        "fc does not fit two:\n"
        "  rf holds 24 bits; the smallest tiles need 32 (inputs 16, psums 16): 8 bits short\n"
        "  glb holds 32 bits; the smallest tiles need 64 (psums 64): 32 bits short\n"
        "  any one of these levels must grow\n"
        "  what would mend it: psums at <= 8 bits; inputs at <= 4 bits; allow inputs to bypass rf; "
        "allow outputs to bypass glb; rf.size_bits >= 32; glb.size_bits >= 64"
    )


def test_levels_that_are_too_small_together() -> None:
    levels = tuple(
        StorageLevel(name, TENSORS, words=words, word_bits=8) for name, words in (("rf", 1), ("glb", 2))
    )
    problem = Problem("fc", (1, 1, 4, 1, 1, 1, 1, 1), weight_bits=8, input_bits=8, output_bits=8, psum_bits=8)
    assert report(problem, Accelerator("two", (*levels, StorageLevel("dram", TENSORS)), mac_count=1)) == (
        "fc does not fit two:\n"
        "  rf holds 8 bits; the smallest tiles need 24 (weights 8, inputs 8, outputs 8): 16 bits short\n"
        "  glb holds 16 bits; the smallest tiles need 24 (weights 8, inputs 8, outputs 8): 8 bits short\n"
        "  all of these levels must grow\n"
        "  what would mend it: rf.size_bits >= 24 and glb.size_bits >= 24"
    )


@pytest.mark.parametrize(
    ("glb", "dram", "text"),
    [
        (
            {"temporal_dims": ("K",)},
            {"temporal_dims": ("K", "P", "Q", "R", "S")},
            "C = 16: no level may iterate it, and it fits no factor of glb.x (size 4, dims K)",
        ),
        (
            {"fixed_temporal": (("C", 5),)},
            {},
            "C = 16: its fixed factors (glb C=5) do not divide it",
        ),
        (
            {"max_temporal": (("P", 2),)},
            {"temporal_dims": tuple("KCQRS")},
            "P = 4: glb may iterate it, not far enough, and it fits no factor of glb.x (size 4, dims K) "
            "(limits: glb P<=2)",
        ),
        (
            {"temporal_dims": tuple("KCPQ"), "x": Axis(4, ("R", "S"))},
            {"temporal_dims": tuple("KCPQ")},
            "R = 3, S = 3: each has a place, together they have none; glb.x (size 4, dims R S) and 4 MAC "
            "units are too few for what no level may iterate",
        ),
    ],
)
def test_conflicts_name_the_dimension(glb: dict[str, object], dram: dict[str, object], text: str) -> None:
    levels = hardware(**glb, words=None).levels
    outer = replace(levels[1], **dram)  # type: ignore[arg-type]
    assert report(conv(), Accelerator("tiny", (levels[0], outer), mac_count=4)) == (
        f"conv3 does not fit tiny:\n  {text}"
    )


def test_a_factor_that_fits_no_fan_out_is_no_error_while_time_takes_it() -> None:
    assert explain(conv(bounds=(1, 1, 7, 7, 1, 1, 1, 1)), hardware()) is None


def test_nothing_iterates_at_a_level_that_holds_nothing() -> None:
    # all tensors live in rf, whose loops are limited to K: DRAM has no part in it
    rf = StorageLevel("rf", TENSORS, temporal_dims=("K",))
    whole = Accelerator("chip", (rf, StorageLevel("dram", TENSORS)), mac_count=1).resident("rf", TENSORS, 0)
    assert explain(conv(bounds=(1, 1, 4, 1, 1, 1, 1, 1)), whole) is None
    assert report(conv(bounds=(1, 1, 4, 2, 1, 1, 1, 1)), whole) == (
        "conv3 does not fit chip:\n"
        "  C = 2: no level may iterate it, and it fits no factor of a fan-out (there is none)"
    )


def test_it_travels_between_processes() -> None:
    found = explain(conv(), hardware(words=2))
    assert found is not None and found.needs and found.levers
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, InfeasibleMapping) and isinstance(again, ValueError)
    assert (str(again), again.needs, again.levers, again.layer) == (
        str(found),
        found.needs,
        found.levers,
        "conv3",
    )


def tightened(seed: int) -> Case:
    """A random case with smaller memories and more limits than most."""
    case, draw = random_case(seed), random.Random(seed + 77)
    levels = []
    for level in case.accelerator.levels[:-1]:
        levels.append(
            replace(
                level,
                words=level.words and max(1, level.words // draw.choice((1, 2, 3, 6))),
                temporal_dims=tuple(d for d in level.temporal_dims if draw.random() < 0.6),
                bypass_allowed=tuple(t for t in level.bypass_allowed if draw.random() < 0.5),
            )
        )
    last = case.accelerator.levels[-1]
    temporal = tuple(d for d in last.temporal_dims if draw.random() < 0.8)
    last = replace(last, words=draw.choice((None, None, None, 60)), temporal_dims=temporal)
    return replace(case, accelerator=replace(case.accelerator, levels=(*levels, last)))


def check_against_enumeration(seeds: range) -> tuple[int, int]:
    """How many cases fit and how many do not; every report's sizes are necessary and sufficient."""
    fit = unfit = 0
    for case in map(tightened, seeds):
        problem, accelerator, mode = case.problem, case.accelerator, case.mode
        if weight(case) > 800:
            continue
        found = explain(problem, accelerator, mode)
        assert (optima(problem, accelerator, mode) is None) == (found is not None)
        fit, unfit = fit + (found is None), unfit + (found is not None)
        if found is None or not found.needs:
            continue
        for grown in [found.needs] if found.together else [(need,) for need in found.needs]:
            for spare, mended in ((0, True), (1, False)):
                size = {need.level: need.need_bits for need in grown}
                levels = tuple(
                    replace(level, words=size[level.name] // level.word_bits - spare)
                    if level.name in size
                    else level
                    for level in accelerator.levels
                )
                larger = replace(accelerator, levels=levels)
                assert (optima(problem, larger, mode) is not None) == mended
    return fit, unfit


def test_reports_agree_with_full_enumeration() -> None:
    fit, unfit = check_against_enumeration(range(250))
    assert fit > 50 and unfit > 30


@pytest.mark.slow
def test_reports_agree_with_full_enumeration_at_length() -> None:
    check_against_enumeration(range(1000, 5000))


def test_the_smallest_need_respects_the_other_levels() -> None:
    rf = StorageLevel("rf", TENSORS, words=3, word_bits=8)
    glb = StorageLevel("glb", TENSORS, words=1, word_bits=8)
    unit = Accelerator("u", (rf, glb, StorageLevel("dram", TENSORS, temporal_dims=())), mac_count=1)
    problem = Problem(
        "fc", (1, 1, 2, 3, 1, 1, 1, 1), weight_bits=8, input_bits=8, output_bits=8, psum_bits=16
    )
    # all six weights, three inputs and two outputs lie in glb; they come back to it unless C runs inside rf,
    # which has no room for that: partial sums of two words
    assert smallest_need(problem, unit, target=1) is None
    roomier = replace(unit, levels=(replace(rf, words=4), *unit.levels[1:]))
    assert smallest_need(problem, roomier, target=1) == (11, (("weights", 6), ("inputs", 3), ("outputs", 2)))
