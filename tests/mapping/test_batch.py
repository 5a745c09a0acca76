"""Many problems: equal ones once, in processes or not, and what does not fit beside what does."""

from dataclasses import replace
from pathlib import Path

import pytest

from bitjoule.mapping.batch import Group, Wanted, groups_of, solve_groups
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.memo import MappingMemo
from tests.mapping.toy import GOLDEN, toy

CONV, LINEAR = GOLDEN[0][0], GOLDEN[3][0]


def test_groups_keep_the_order_and_the_names() -> None:
    groups = groups_of([CONV, LINEAR, replace(CONV, name="again"), replace(LINEAR, weight_bits=3)])
    assert [group.names for group in groups] == [("conv", "again"), (LINEAR.name,), (LINEAR.name,)]
    assert groups[0].problem == CONV
    assert groups_of([]) == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_do_not_depend_on_the_workers(workers: int, tmp_path: Path) -> None:
    hardware = toy(("K", "C"), glb_words=6)
    too_wide = replace(CONV, name="wide", input_bits=32, weight_bits=32)
    groups = groups_of([CONV, LINEAR, replace(too_wide, input_bits=256)])
    done: list[Group] = []
    memo = MappingMemo(tmp_path / f"{workers}.sqlite")
    found = solve_groups(groups, hardware, Wanted(), memo=memo, workers=workers, on_done=done.append)
    assert [answer.problem.name for answer in found[:2] if not isinstance(answer, Exception)] == [
        CONV.name,
        LINEAR.name,
    ]
    assert isinstance(found[2], InfeasibleMapping)
    assert str(found[2]).startswith("wide does not fit toy:")
    assert sorted(group.names for group in done) == sorted(group.names for group in groups)
    assert memo.info().entries == 2
    alone = [memo.solve(group.problem, hardware) for group in groups[:2]]
    assert [a.mapping for a in alone] == [a.mapping for a in found[:2] if not isinstance(a, Exception)]
