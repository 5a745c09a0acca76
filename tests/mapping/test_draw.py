"""A mapping as text: every loop, every tile, sums that add up, and what is proven."""

import re
from dataclasses import replace

import pytest

from bitjoule.mapping.accelerator import StorageLevel
from bitjoule.mapping.draw import certificate, draw, energy_table, loop_nest, summary
from bitjoule.mapping.search import MappingResult, solve
from tests.mapping.toy import GOLDEN, toy


@pytest.fixture(scope="module", params=range(len(GOLDEN)), ids=[str(p.bounds) for p, *_ in GOLDEN])
def solved(request: pytest.FixtureRequest) -> tuple[MappingResult, tuple[str, ...]]:
    problem, dims, *_ = GOLDEN[request.param]
    return solve(problem, toy(dims)), dims


def test_all_loops_are_drawn_outermost_first(solved: tuple[MappingResult, tuple[str, ...]]) -> None:
    result, dims = solved
    text = loop_nest(result, toy(dims))
    names = [line.split()[0] for line in text.splitlines() if not line.startswith("|")]
    assert names == ["dram", "glb", "rf_o", "rf_i", "rf_w", "mac"]
    found = dict.fromkeys("NGKCPQRS", 1)
    for dim, bound in re.findall(r"(\w) in 0:(\d+)", text):
        assert int(bound) > 1
        found[dim] *= int(bound)
    assert tuple(found.values()) == result.problem.bounds
    depths = [len(line) - len(line[1:].lstrip()) for line in text.splitlines() if line.startswith("|")]
    assert depths == sorted(set(depths))


def test_tiles_and_fill_of_every_level(solved: tuple[MappingResult, tuple[str, ...]]) -> None:
    result, dims = solved
    lines = {line.split()[0]: line for line in loop_nest(result, toy(dims)).splitlines()}
    for level in result.evaluation.levels:
        for cost in level.tensors:
            assert f"{cost.tensor} {cost.tile} ({cost.bits} bit" in lines[level.name]
    words = sum(cost.tile_words for cost in result.evaluation.levels[3].tensors)
    if words:
        assert f"in {words} word{'s' * (words != 1)}, {100 * words / 24:.0f} % of 24" in lines["glb"]
    assert lines["mac"].endswith(f"{result.evaluation.mac_instances} of 4 units")


def test_the_table_adds_up_to_the_total(solved: tuple[MappingResult, tuple[str, ...]]) -> None:
    result, _ = solved
    lines = energy_table(result.evaluation).splitlines()
    head = lines[0].split()
    assert head == ["level", "weights", "inputs", "outputs", "uJ", "share"]
    sums = [float(line.split()[-3]) for line in lines[1:]]
    assert sum(sums[:-1]) == pytest.approx(sums[-1], abs=1e-6 * len(sums))
    assert sums[-1] == pytest.approx(result.energy_pj / 1e6, abs=5e-7)
    assert len({len(line) for line in lines}) == 1


def test_summary_and_certificate(solved: tuple[MappingResult, tuple[str, ...]]) -> None:
    result, dims = solved
    told = summary(result, toy(dims))
    assert f"{result.evaluation.macs:,} MACs" in told
    assert f"cycles {result.latency_cycles} ({result.evaluation.compute_cycles} to compute)" in told
    assert f"bound by {result.evaluation.bounding}" in told
    proof = certificate(result)
    assert proof.startswith("proven optimal (energy): bound = value, ")
    assert f"{result.evaluated:,} complete mapping" in proof
    assert draw(result, toy(dims)).endswith(proof)


def test_bypassed_levels_and_pure_fan_outs_are_named() -> None:
    problem, dims, *_ = GOLDEN[3]
    rf_w, rf_i, rf_o, glb, dram = toy(dims).levels
    free = replace(glb, bypass_allowed=("inputs", "outputs"), read_pj=500.0, write_pj=500.0)
    array = StorageLevel("array", ())
    hardware = replace(toy(dims), levels=(rf_w, rf_i, rf_o, array, free, dram))
    lines = loop_nest(solve(problem, hardware), hardware).splitlines()
    assert [line for line in lines if line.startswith(("glb", "array"))] == [
        "glb    bypassed by inputs, outputs",
        "array  fan-out to 1",
    ]


def test_a_gap_is_said() -> None:
    problem, dims, *_ = GOLDEN[3]
    cut = replace(solve(problem, toy(dims)), optimal=False, gap=0.031)
    assert certificate(cut).startswith(
        "not proven (energy): at most 3.1 % above the optimum, the search was cut short; "
    )


def test_tensors_that_live_on_chip_are_said_to_be_whole() -> None:
    problem, dims, *_ = GOLDEN[3]
    resident = toy(dims).resident("glb", ("outputs",), 10)
    drawn = loop_nest(solve(problem, resident), resident)
    (glb,) = [line for line in drawn.splitlines() if line.startswith("glb")]
    assert glb.endswith("outputs (4 bit) live here as a whole") or "partial sums) live here" in glb
    assert "% of 10" in glb
    assert "outputs" not in drawn.splitlines()[0]
