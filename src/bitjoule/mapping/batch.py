"""Many problems on one accelerator: equal ones are solved once, different ones side by side if asked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.memo import MappingMemo
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.result import MappingResult, Objective
from bitjoule.mapping.space import SpaceOptions

__all__ = ["Group", "NoMapping", "Wanted", "groups_of", "solve_groups"]

NoMapping = ValueError | TimeoutError
"""Why a group has no mapping: `InfeasibleMapping`, a latency cap that no mapping meets, no time left."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of every problem; the arguments of `mapping/search.py` `solve`."""

    mode: Mode = "physical"
    objective: Objective = "energy"
    latency_cap_cycles: int | None = None
    space: SpaceOptions | None = None
    time_limit_s: float | None = None


@dataclass(frozen=True)
class Group:
    """Problems that differ in their names only; `problem` is the first of them."""

    names: tuple[str, ...]
    problem: Problem


def groups_of(problems: Sequence[Problem]) -> tuple[Group, ...]:
    """Equal problems together, in order of first appearance.

    >>> square = Problem("a", (1, 1, 8, 8, 4, 4, 3, 3))
    >>> [group.names for group in groups_of([square, replace(square, name="b")])]
    [('a', 'b')]
    """
    names: dict[Problem, list[str]] = {}
    first: dict[Problem, Problem] = {}
    for problem in problems:
        shape = replace(problem, name="")
        names.setdefault(shape, []).append(problem.name)
        first.setdefault(shape, problem)
    return tuple(Group(tuple(found), first[shape]) for shape, found in names.items())


def solve_groups(
    groups: Sequence[Group],
    accelerator: Accelerator,
    wanted: Wanted,
    *,
    memo: MappingMemo,
    workers: int = 1,
    on_done: Callable[[Group], None] = lambda _: None,
) -> list[MappingResult | NoMapping]:
    """One answer per group, in their order: the best mapping, or why there is none.

    `workers` > 1: processes, each with the memo's file. Answers do not depend on it.
    """
    if workers <= 1 or len(groups) <= 1:
        found = []
        for group in groups:
            found.append(_solved(group.problem, accelerator, wanted, memo))
            on_done(group)
        return found
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(groups)), mp_context=context) as pool:
        futures = {
            pool.submit(_solved_apart, group.problem, accelerator, wanted, memo.file.path): group
            for group in groups
        }
        for future in as_completed(futures):
            future.result()
            on_done(futures[future])
        return [future.result() for future in futures]


def _solved(
    problem: Problem, accelerator: Accelerator, wanted: Wanted, memo: MappingMemo
) -> MappingResult | NoMapping:
    try:
        return memo.solve(
            problem,
            accelerator,
            mode=wanted.mode,
            objective=wanted.objective,
            latency_cap_cycles=wanted.latency_cap_cycles,
            space=wanted.space,
            time_limit_s=wanted.time_limit_s,
        )
    except (ValueError, TimeoutError) as error:  # InfeasibleMapping is a ValueError
        return error


def _solved_apart(
    problem: Problem, accelerator: Accelerator, wanted: Wanted, path: Path
) -> MappingResult | NoMapping:
    """What runs in a worker process."""
    return _solved(problem, accelerator, wanted, MappingMemo.open(path))
