"""Mappings that were found before: the same problem on the same hardware is solved once per machine.

The key is the SHA-256 of everything that decides a result: bounds, window steps, bits and MAC energy of the
problem (not its name), the levels and units of the accelerator (not its name), mode, objective, latency cap,
space and MAPPER_VERSION. Only proven optima are stored. What is read back is priced again by `evaluate` and
thrown away unless energy and cycles are the stored ones, so a wrong entry costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode, evaluate
from bitjoule.mapping.memo_file import MemoFile, MemoInfo, memo_path
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.search import MAPPER_VERSION, MappingResult, Objective, solve
from bitjoule.mapping.space import SpaceOptions

__all__ = ["MappingMemo", "MemoCounts", "Solver", "memo_key"]

Solver = Callable[..., MappingResult]

_open: dict[Path, MappingMemo] = {}


@dataclass(frozen=True)
class MemoCounts:
    """Of one memo in this process: answers from memory and disk, and searches."""

    remembered: int = 0
    read: int = 0
    solved: int = 0


def memo_key(
    problem: Problem,
    accelerator: Accelerator,
    *,
    mode: Mode = "physical",
    objective: Objective = "energy",
    latency_cap_cycles: int | None = None,
    space: SpaceOptions | None = None,
) -> str:
    """The content key of a result: 64 hexadecimal digits."""
    payload = {
        "version": MAPPER_VERSION,
        "problem": _without_name(problem),
        "accelerator": _without_name(accelerator),
        "mode": mode,
        "objective": objective,
        "latency_cap_cycles": latency_cap_cycles,
        "space": _json((space or SpaceOptions()).key),
    }
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class MappingMemo:
    """`solve` of `mapping/search.py`, remembered in memory and on disk.

    memo = MappingMemo.open(); memo.solve(problem, accelerator) is memo.solve(problem, accelerator)
    """

    def __init__(self, path: Path, solver: Solver = solve) -> None:
        self.file = MemoFile(path)
        self.counts = MemoCounts()
        self._solver = solver
        self._memory: dict[str, MappingResult] = {}

    @classmethod
    def open(cls, path: Path | None = None) -> MappingMemo:
        """The memo of a file, by default `mappings.sqlite` of the cache folder; one per file and process."""
        where = (path or memo_path()).absolute()
        if where not in _open:
            _open[where] = cls(where)
        return _open[where]

    def solve(
        self,
        problem: Problem,
        accelerator: Accelerator,
        *,
        mode: Mode = "physical",
        objective: Objective = "energy",
        latency_cap_cycles: int | None = None,
        space: SpaceOptions | None = None,
        time_limit_s: float | None = None,
    ) -> MappingResult:
        """The best mapping; searched for when it is not known yet.

        A result that a time limit cut short is remembered for this process and this limit only.

        Raises:
            InfeasibleMapping: nothing fits.
        """
        key = memo_key(
            problem,
            accelerator,
            mode=mode,
            objective=objective,
            latency_cap_cycles=latency_cap_cycles,
            space=space,
        )
        cut_short = f"{key}:{time_limit_s}"
        known = self._memory.get(key) or self._memory.get(cut_short)
        if known is not None:
            self.counts = replace(self.counts, remembered=self.counts.remembered + 1)
            if known.problem.name == problem.name:
                return known
            return replace(known, problem=replace(known.problem, name=problem.name))
        result = self._read(key, problem, accelerator, mode, objective)
        if result is None:
            result = self._solver(
                problem,
                accelerator,
                mode=mode,
                objective=objective,
                latency_cap_cycles=latency_cap_cycles,
                space=space,
                time_limit_s=time_limit_s,
            )
            self.counts = replace(self.counts, solved=self.counts.solved + 1)
            if result.optimal:
                self.file.put(key, _document(result))
        else:
            self.counts = replace(self.counts, read=self.counts.read + 1)
        self._memory[key if result.optimal else cut_short] = result
        return result

    def info(self) -> MemoInfo:
        """Path, entries and size of the file."""
        return self.file.info()

    def clear(self) -> None:
        """Forget everything, on disk and in memory."""
        self._memory.clear()
        self.file.clear()

    def _read(
        self, key: str, problem: Problem, accelerator: Accelerator, mode: Mode, objective: Objective
    ) -> MappingResult | None:
        text = self.file.get(key)
        if text is None:
            return None
        try:
            result = _result(text, problem, accelerator, mode, objective)
        except (ValueError, KeyError, TypeError, AttributeError):
            result = None
        if result is None:
            self.file.forget(key)
        return result


def _document(result: MappingResult) -> str:
    certificate = {
        "bound": result.bound,
        "gap": result.gap,
        "evaluated": result.evaluated,
        "pruned": dict(result.pruned),
        "space_size": result.space_size,
        "seconds": result.seconds,
        "padding_macs": result.padding_macs,
    }
    document = {
        "bounds": list(result.problem.bounds),
        "mapping": result.mapping.to_json(),
        "energy_pj": result.energy_pj,
        "latency_cycles": result.latency_cycles,
        "certificate": certificate,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _result(
    text: str, problem: Problem, accelerator: Accelerator, mode: Mode, objective: Objective
) -> MappingResult | None:
    """The stored result; None when its mapping does not cost what is stored, or does not fit."""
    document = cast("dict[str, Any]", json.loads(text))
    n, g, k, c, p, q, r, s = document["bounds"]  # more than asked for where dimensions were padded
    if any(has < wants for has, wants in zip(document["bounds"], problem.bounds, strict=True)):
        return None
    problem = replace(problem, bounds=(n, g, k, c, p, q, r, s))
    mapping = Mapping.from_json(document["mapping"])
    mapping.check(problem, accelerator)
    evaluation = evaluate(problem, mapping, accelerator, mode=mode)
    same = (evaluation.energy_pj, evaluation.latency_cycles) == (
        document["energy_pj"],
        document["latency_cycles"],
    )
    if not same or evaluation.violations:
        return None
    return MappingResult(
        problem=problem,
        mapping=mapping,
        evaluation=evaluation,
        energy_pj=evaluation.energy_pj,
        latency_cycles=evaluation.latency_cycles,
        optimal=True,
        objective=objective,
        **document["certificate"],
    )


def _without_name(value: Problem | Accelerator) -> object:
    """All fields but the name, as JSON."""
    return {key: _json(item) for key, item in asdict(value).items() if key != "name"}


def _json(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_json(item) for item in value]
    return value
