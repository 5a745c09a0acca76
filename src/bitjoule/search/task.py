"""One evaluation as a message: a Task goes to where it is run, an Outcome comes back, both JSON.

No code and no objects cross a process border. `run_task` is what every executor does with a Task.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bitjoule.search.disk import is_disk_full
from bitjoule.search.space import Candidate
from bitjoule.search.trial import AccuracyEvaluator, Budget, EvaluatorSpec, Failure, FailureKind, Json, Split

__all__ = ["WEIGHTS", "Evaluators", "Outcome", "Task", "load_evaluator", "run_task"]

WEIGHTS = "weights.safetensors"
"""Name of the trained weights in the folder of a training."""

LOG_LINES = 50


@dataclass(frozen=True)
class Task:
    """One accuracy to evaluate. `key` is its content key, `workdir` the folder of its training."""

    key: str
    evaluator: EvaluatorSpec
    candidate: Candidate
    budget: Budget
    seed: int
    split: Split
    workdir: str
    parent_workdir: str | None = None
    timeout_s: float | None = None

    def to_json(self) -> Json:
        """A JSON document; `from_json` reads it back exactly."""
        return {
            "key": self.key,
            "evaluator": self.evaluator.to_json(),
            "candidate": self.candidate.to_json(),
            "budget": self.budget.to_json(),
            "seed": self.seed,
            "split": self.split,
            "workdir": self.workdir,
            "parent_workdir": self.parent_workdir,
            "timeout_s": self.timeout_s,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Task:
        """The Task of a document that `to_json` wrote."""
        fields = dict(document)
        fields["evaluator"] = EvaluatorSpec(**fields["evaluator"])  # type: ignore[arg-type]
        fields["candidate"] = Candidate.from_json(cast(Json, fields["candidate"]))
        fields["budget"] = Budget.from_json(cast(Json, fields["budget"]))
        return cls(**fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Outcome:
    """What came of a Task: a result, a failure, or neither when cancelled.

    `result` holds accuracy, loss, metrics and weights_sha256. `disk_full` asks the driver to stop: a full
    disk says nothing about the candidate.
    """

    ticket: int
    key: str
    result: Json | None = None
    failure: Failure | None = None
    cancelled: bool = False
    disk_full: bool = False
    wall_s: float = 0.0
    device: str = "cpu"
    host: str = ""

    def to_json(self) -> Json:
        """A JSON document; `from_json` reads it back exactly."""
        document = dict(vars(self))
        document["failure"] = None if self.failure is None else self.failure.to_json()
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Outcome:
        """The Outcome of a document that `to_json` wrote."""
        fields = dict(document)
        if fields.get("failure") is not None:
            fields["failure"] = Failure.from_json(cast(Json, fields["failure"]))
        return cls(**fields)  # type: ignore[arg-type]


def load_evaluator(spec: EvaluatorSpec) -> AccuracyEvaluator:
    """Import the factory of a spec and call it with the config.

    Raises:
        ValueError: the factory is not "package.module:function".
    """
    module, colon, function = spec.factory.partition(":")
    if not (module and colon and function):
        raise ValueError(f"an evaluator factory is named 'package.module:function', not {spec.factory!r}")
    factory = getattr(importlib.import_module(module), function)
    return cast(AccuracyEvaluator, factory(spec.config))


class Evaluators:
    """Evaluators of one process, made once per spec."""

    def __init__(self) -> None:
        self._made: dict[str, AccuracyEvaluator] = {}

    def of(self, spec: EvaluatorSpec) -> AccuracyEvaluator:
        """The evaluator of `spec`, made on first use."""
        name = repr(spec)
        if name not in self._made:
            self._made[name] = load_evaluator(spec)
        return self._made[name]


def run_task(task: Task, ticket: int, evaluators: Evaluators, stop: Callable[[], bool]) -> Outcome:
    """Evaluate here and now; whatever an evaluator raises becomes a Failure of the Outcome."""
    started = time.monotonic()
    result: Json | None = None
    failure: Failure | None = None
    disk_full = False
    try:
        Path(task.workdir).mkdir(parents=True, exist_ok=True)
        result = _evaluate(task, evaluators, stop)
        accuracy = cast(float, result["accuracy"])
        if math.isnan(accuracy):
            failure = Failure("diverged", "accuracy is NaN", metrics=cast(Json, result["metrics"]))
            result = None
        elif not 0 <= accuracy <= 1:
            failure = Failure("error", f"accuracy must be a fraction from 0 to 1, not {accuracy}")
            result = None
    except SystemExit as error:
        failure = Failure("crashed", f"the evaluator called exit({error.code})", "SystemExit", _last_lines())
    except Exception as error:
        disk_full = is_disk_full(error)
        failure = _failure(error)
    cancelled = failure is not None and stop()
    return Outcome(
        ticket=ticket,
        key=task.key,
        result=result,
        failure=None if cancelled else failure,
        cancelled=cancelled,
        disk_full=disk_full,
        wall_s=time.monotonic() - started,
        device=os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu",
        host=socket.gethostname(),
    )


def _evaluate(task: Task, evaluators: Evaluators, stop: Callable[[], bool]) -> Json:
    workdir = Path(task.workdir)
    parent = None if task.parent_workdir is None else Path(task.parent_workdir)
    answer = evaluators.of(task.evaluator)(
        task.candidate, task.budget, task.seed, workdir, split=task.split, parent_workdir=parent, stop=stop
    )
    weights = None
    if answer.weights is not None:
        if Path(answer.weights) != workdir / WEIGHTS:
            raise ValueError(f"an evaluator writes its weights to {workdir / WEIGHTS}, not {answer.weights}")
        weights = hashlib.sha256((workdir / WEIGHTS).read_bytes()).hexdigest()
    return {
        "accuracy": float(answer.accuracy),
        "loss": float(answer.loss),
        "metrics": _finite(answer.metrics),
        "weights_sha256": weights,
    }


def _failure(error: Exception) -> Failure:
    kind: FailureKind = "error"
    if getattr(error, "kind", None) == "diverged" or isinstance(error, FloatingPointError):
        kind = "diverged"
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        kind = "out_of_memory"
    lines = str(error).strip().splitlines()
    metrics = getattr(error, "metrics", {})
    return Failure(
        kind=kind,
        text=lines[0] if lines else type(error).__name__,
        type=type(error).__name__,
        detail=_last_lines(),
        metrics=_finite(metrics) if isinstance(metrics, Mapping) else {},
    )


def _last_lines() -> str:
    return "\n".join(traceback.format_exc().splitlines()[-LOG_LINES:])


def _finite(value: Mapping[str, object]) -> Json:
    """Metrics as JSON: numbers that are not finite become null."""
    return {
        name: None if isinstance(item, float) and not math.isfinite(item) else item
        for name, item in value.items()
    }
