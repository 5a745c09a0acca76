"""The slow walk on cases small enough to count by hand."""

import random

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.interpreter import interpret
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.tally import Counts, TensorTally
from tests.mapping.eyeriss_like import ALL
from tests.mapping.random_nests import random_case


def tally(counts: Counts, level: str, tensor: str) -> TensorTally:
    entries = next(entry for entry in counts.levels if entry.name == level).tensors
    return next(entry for entry in entries if entry.tensor == tensor)


def two_levels() -> Accelerator:
    return Accelerator("two", (StorageLevel("rf", ALL, y=Axis(8)), StorageLevel("dram", ALL, x=Axis(8))), 64)


def test_a_window_that_slides() -> None:
    """P 8, R 3: the buffer holds rows for P 2 and slides four times over ten rows, two new ones a step."""
    problem = Problem("w", (1, 1, 1, 1, 8, 1, 3, 1))
    mapping = Mapping((LevelNest("rf", ALL, (("R", 3), ("P", 2))), LevelNest("dram", ALL, (("P", 4),))))
    counts = interpret(problem, mapping, two_levels())
    inputs, outputs = tally(counts, "rf", "inputs"), tally(counts, "rf", "outputs")
    assert (inputs.tile, inputs.fills, inputs.reads) == (4, 10, 24)
    assert (outputs.updates, outputs.reads, outputs.fills, outputs.first_updates) == (24, 16, 0, 8)
    assert outputs.partial
    assert outputs.final_updates == 0
    finished = tally(counts, "dram", "outputs")
    assert (finished.updates, finished.reads, finished.partial, finished.final_updates) == (8, 0, False, 8)
    assert (counts.macs, counts.mac_instances, counts.steps) == (24, 1, 24)


def test_partial_sums_that_spill() -> None:
    """C outside K: every output goes out and comes back, the first time it starts from zero."""
    problem = Problem("s", (1, 1, 2, 3, 1, 1, 1, 1))
    mapping = Mapping((LevelNest("rf", ALL), LevelNest("dram", ALL, (("K", 2), ("C", 3)))))
    counts = interpret(problem, mapping, two_levels())
    rf, dram = tally(counts, "rf", "outputs"), tally(counts, "dram", "outputs")
    assert (rf.updates, rf.reads, rf.fills) == (6, 4, 4)
    assert (dram.updates, dram.reads, dram.fills, dram.final_updates) == (6, 4, 0, 2)
    assert dram.partial


def test_neighbours_at_equal_offsets_share_one_read() -> None:
    """P 3 and R 3 on one fan-out: 5 distinct rows; on stacked fan-outs 9, nothing merges across levels."""
    problem = Problem("m", (1, 1, 1, 1, 3, 1, 3, 1))
    merged = Mapping((LevelNest("rf", ALL), LevelNest("dram", ALL, x=(("P", 3), ("R", 3)))))
    assert tally(interpret(problem, merged, two_levels()), "dram", "inputs").reads == 5
    around = Accelerator(
        "around", (StorageLevel("rf", (), y=Axis(3)), StorageLevel("dram", ALL, x=Axis(3))), 9
    )
    bare = Mapping((LevelNest("rf", (), y=(("R", 3),)), LevelNest("dram", ALL, x=(("P", 3),))))
    assert tally(interpret(problem, bare, around), "dram", "inputs").reads == 9
    outputs = tally(interpret(problem, bare, around), "dram", "outputs")
    assert (outputs.updates, outputs.partial) == (3, False)


def test_the_set_difference_knows_neighbours_that_the_law_does_not() -> None:
    """P 2 inside P 2: the outer step finds the next rows, which the law fetches again."""
    problem = Problem("w", (1, 1, 1, 1, 8, 1, 3, 1))
    split = Mapping(
        (LevelNest("rf", ALL, (("R", 3), ("P", 2))), LevelNest("dram", ALL, (("P", 2), ("P", 2))))
    )
    assert tally(interpret(problem, split, two_levels()), "rf", "inputs").fills == 12
    ideal = interpret(problem, split, two_levels(), window="set_difference")
    assert tally(ideal, "rf", "inputs").fills == 10


def test_the_set_difference_is_never_above_the_law() -> None:
    for seed in range(150):
        case = random_case(random.Random(seed), most_macs=200)
        law, ideal = interpret(*case), interpret(*case, window="set_difference")
        for one, other in zip(law.levels, ideal.levels, strict=True):
            for t_law, t_ideal in zip(one.tensors, other.tensors, strict=True):
                assert t_ideal.fills <= t_law.fills
                assert t_ideal.reads <= t_law.reads
