"""The mapper: the cheapest mapping of a layer, and the proof that none in the map space is cheaper.

No random numbers: the same question has the same answer.
"""

from __future__ import annotations

import math
import time

from bitjoule.hardware import Hardware
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.incumbent import Candidate, Incumbent
from bitjoule.mapping.infeasible import InfeasibleMapping, explain
from bitjoule.mapping.layer_problem import problem_of
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.result import MAPPER_VERSION, MappingResult, Objective
from bitjoule.mapping.space import (
    SpaceOptions,
    constrained,
    padded_problems,
    space_size,
    spatial_assignments,
)
from bitjoule.workload import Layer

__all__ = [
    "MAPPER_VERSION",
    "MappingResult",
    "NoFasterMapping",
    "Objective",
    "best_mapping",
    "pareto_mappings",
    "solve",
]

LEAST_TIME_S = 0.1
"""What a mapping of a front gets at least, however little time is left."""


class NoFasterMapping(ValueError):
    """No mapping keeps to the latency cap."""


def best_mapping(
    layer: Layer,
    hardware: Hardware,
    *,
    mode: Mode = "physical",
    objective: Objective = "energy",
    latency_cap_cycles: int | None = None,
    space: SpaceOptions | None = None,
    time_limit_s: float | None = None,
    workers: int = 1,
) -> MappingResult:
    """The cheapest mapping of `layer` on `hardware`, proven unless `time_limit_s` ends the search.

    `objective`: "energy" (with `latency_cap_cycles` among mappings of at most so many cycles), "edp" (energy
    times cycles) or "latency" (cycles, then energy). `workers`: threads; the result does not depend on it.

    Raises:
        InfeasibleMapping: nothing fits; says which level lacks how many bits, and what would mend it.
        ValueError: hardware of another kind, or options that it cannot satisfy.
    """
    return solve(
        problem_of(layer, hardware, mode=mode),
        accelerator_of(hardware),
        mode=mode,
        objective=objective,
        latency_cap_cycles=latency_cap_cycles,
        space=space,
        time_limit_s=time_limit_s,
        workers=workers,
    )


def solve(
    problem: Problem,
    accelerator: Accelerator,
    *,
    mode: Mode = "physical",
    objective: Objective = "energy",
    latency_cap_cycles: int | None = None,
    space: SpaceOptions | None = None,
    time_limit_s: float | None = None,
    workers: int = 1,
) -> MappingResult:
    """`best_mapping` of a Problem on an Accelerator.

    Raises:
        InfeasibleMapping: nothing fits.
        NoFasterMapping: no mapping keeps to the latency cap.
        TimeoutError: none was found within the time limit.
        ValueError: an unknown objective, a cap with another objective than energy, constraints that nothing
        meets.
    """
    began = time.perf_counter()
    if objective not in ("energy", "edp", "latency"):
        raise ValueError(f"objective must be energy, edp or latency, not {objective!r}")
    if workers < 1:
        raise ValueError(f"workers must be >= 1, not {workers}")
    narrow = mode == "physical" and (problem.psum_bits or 0) < (problem.output_bits or 0)
    if narrow:
        raise ValueError(
            f"layer {problem.name!r}: partial sums of {problem.psum_bits} bits cannot become outputs of "
            f"{problem.output_bits}; give psum_bits >= {problem.output_bits}"
        )
    if latency_cap_cycles is not None and (objective != "energy" or latency_cap_cycles < 1):
        raise ValueError("latency_cap_cycles is a number of cycles >= 1 and goes with objective='energy'")
    if time_limit_s is not None and not (math.isfinite(time_limit_s) and time_limit_s > 0):
        raise ValueError(f"time_limit_s must be a finite number of seconds > 0, not {time_limit_s!r}")
    options = space or SpaceOptions()
    hardware = constrained(accelerator, options)
    problems = padded_problems(problem, hardware) if options.imperfect == "pad" else (problem,)
    search = Incumbent(hardware, mode, objective, latency_cap_cycles)
    size = 0
    candidates: list[Candidate] = []
    for entry in problems:
        assignments = spatial_assignments(entry, hardware, options)
        size += space_size(entry, hardware, assignments)
        candidates += search.candidates(entry, assignments)
    candidates.sort(key=lambda candidate: candidate.bound)
    deadline = math.inf if time_limit_s is None else began + time_limit_s
    search.run(candidates, deadline, workers)
    if search.best is None:
        raise _nothing(problem, hardware, mode, latency_cap_cycles, time_limit_s)
    return search.result(problem, candidates, size, time.perf_counter() - began)


def _nothing(
    problem: Problem, hardware: Accelerator, mode: Mode, cap: int | None, limit: float | None
) -> Exception:
    reason = explain(problem, hardware, mode)
    if isinstance(reason, InfeasibleMapping):
        return reason
    if cap is not None:
        return NoFasterMapping(
            f"layer {problem.name!r} on {hardware.name}: no mapping takes at most {cap} cycles; raise "
            "latency_cap_cycles, or ask objective='latency' for the least"
        )
    if limit is not None:
        return TimeoutError(f"layer {problem.name!r}: no mapping found within {limit} s; allow more time")
    return ValueError(f"layer {problem.name!r}: the constraints of {hardware.name} admit no mapping")


def pareto_mappings(
    layer: Layer,
    hardware: Hardware,
    *,
    mode: Mode = "physical",
    space: SpaceOptions | None = None,
    time_limit_s: float | None = None,
) -> tuple[MappingResult, ...]:
    """All mappings of which no other has less energy and no more cycles, or fewer cycles and no more energy.

    From the least energy downwards in cycles: each is the cheapest among those that are faster than the last.
    A time limit ends the front early; each result says whether it is proven.

    Raises:
        InfeasibleMapping: nothing fits.
        TimeoutError: the time limit came before the first mapping.
    """
    problem = problem_of(layer, hardware, mode=mode)
    accelerator = accelerator_of(hardware)
    deadline = math.inf if time_limit_s is None else time.perf_counter() + time_limit_s
    found: list[MappingResult] = []
    cap: int | None = None
    while True:
        left = deadline - time.perf_counter()
        if found and left <= 0:
            return tuple(found)
        limit = None if left == math.inf else max(left, LEAST_TIME_S)
        try:
            result = solve(
                problem, accelerator, mode=mode, latency_cap_cycles=cap, space=space, time_limit_s=limit
            )
        except (NoFasterMapping, TimeoutError):
            if not found:
                raise
            return tuple(found)
        while found and result.energy_pj <= found[-1].energy_pj:
            found.pop()
        found.append(result)
        if result.latency_cycles == 1:
            return tuple(found)
        cap = result.latency_cycles - 1
