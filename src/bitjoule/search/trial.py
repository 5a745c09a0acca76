"""Records of a study, and what it needs of an accuracy evaluator and of a cost model.

Accuracies are fractions 0..1, energies pJ. `train/` satisfies `AccuracyEvaluator` by structure, without
importing this room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from bitjoule.search.space import Candidate

__all__ = [
    "FAILURE_KINDS",
    "MAX_ATTEMPTS",
    "AccuracyEvaluator",
    "AccuracyResult",
    "Budget",
    "CostFunction",
    "CostRecord",
    "EvaluatorSpec",
    "Failure",
    "FailureKind",
    "Json",
    "Request",
    "Result",
    "Split",
    "Status",
    "Trial",
]

Json = dict[str, object]
Split = Literal["validation", "test"]
Status = Literal["done", "failed", "infeasible"]
FailureKind = Literal["diverged", "out_of_memory", "crashed", "timeout", "lost", "error", "infeasible"]

FAILURE_KINDS: tuple[FailureKind, ...] = (
    *("diverged", "out_of_memory", "crashed", "timeout", "lost", "error", "infeasible"),
)
MAX_ATTEMPTS: Mapping[FailureKind, int] = {"out_of_memory": 2, "crashed": 3, "lost": 5}
"""Kinds that may pass by themselves, and how often they are tried; every other kind is tried once."""


@dataclass(frozen=True)
class Budget:
    """How much work an accuracy may take; None means all images."""

    epochs: float
    train_images: int | None = None
    val_images: int | None = None

    def to_json(self) -> Json:
        """A JSON document of the three numbers."""
        return {"epochs": self.epochs, "train_images": self.train_images, "val_images": self.val_images}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Budget:
        """The Budget of a document that `to_json` wrote."""
        return cls(**document)  # type: ignore[arg-type]


@dataclass(frozen=True)
class AccuracyResult:
    """What an evaluator returns. `weights`, if any, is `workdir/weights.safetensors`."""

    accuracy: float
    loss: float
    metrics: Json = field(default_factory=dict)
    weights: Path | None = None


class AccuracyEvaluator(Protocol):
    """Trains or calibrates a candidate and measures its accuracy on one split.

    The training does not depend on the split: with a finished checkpoint in `workdir` only the measuring is
    done. `stop()` is to be polled after each checkpoint; when it is True, raise anything. Must be cheap to
    construct (no torch): the driver reads name, version and fingerprint.
    """

    name: str
    version: int

    def fingerprint(self) -> Json:
        """Everything that changes the result beyond candidate, budget, seed, split, data and parent."""
        ...

    def __call__(
        self,
        candidate: Candidate,
        budget: Budget,
        seed: int,
        workdir: Path,
        *,
        split: Split,
        parent_workdir: Path | None,
        stop: Callable[[], bool],
    ) -> AccuracyResult:
        """Accuracy of one candidate; NaN means the training diverged."""
        ...


@dataclass(frozen=True)
class EvaluatorSpec:
    """How a worker makes an evaluator: `factory`, "package.module:function", is called with `config`."""

    factory: str
    config: Json

    def to_json(self) -> Json:
        """A JSON document of both."""
        return {"factory": self.factory, "config": self.config}


@dataclass(frozen=True)
class CostRecord:
    """Cost of a candidate on one hardware, or why none: `reason` stands when it is infeasible.

    `breakdown` is the JSON that reports show: "cost" (`Cost.to_json`), "proxies", "formats".
    """

    energy_pj: float | None
    latency_cycles: int | None
    dram_pj: float | None
    breakdown: Json = field(default_factory=dict)
    reason: str | None = None

    @property
    def feasible(self) -> bool:
        """False when the hardware cannot run the candidate."""
        return self.reason is None


class CostFunction(Protocol):
    """Exact, deterministic cost of candidates; hardware goes by the name or path of the study file."""

    def hardware_hash(self, hardware: str) -> str:
        """Content hash of a hardware; a description that is wrong raises ValueError."""
        ...

    def payload(self, candidate: Candidate, hardware: str) -> Json:
        """Everything that changes the cost: what its content key is made of."""
        ...

    def network_payload(self, candidate: Candidate) -> Json:
        """Content of the network itself (graph and topology), part of every accuracy key."""
        ...

    def __call__(self, candidate: Candidate, hardware: str) -> CostRecord:
        """The cost, or a record with a reason when the hardware cannot run the candidate."""
        ...


@dataclass(frozen=True)
class Failure:
    """Why an evaluation has no result: `text` is one line for people, `detail` a traceback or log lines."""

    kind: FailureKind
    text: str
    type: str = ""
    detail: str = ""
    metrics: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """A JSON document; `from_json` reads it back exactly."""
        return {
            "kind": self.kind,
            "text": self.text,
            "type": self.type,
            "detail": self.detail,
            "metrics": self.metrics,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Failure:
        """The Failure of a document that `to_json` wrote."""
        return cls(**document)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Request:
    """What a method asks to be evaluated, on every hardware of the study."""

    candidate: Candidate
    seed: int
    generation: int | None = None
    rung: int | None = None


@dataclass(frozen=True)
class Trial:
    """One evaluated candidate with one seed on one hardware, as stored.

    `accuracy` is measured on the validation split. `accuracy_test` is the mean over the `seeds` of the same
    candidate that were measured on the test split (`accuracy_sd`: sample standard deviation), None before.
    """

    number: int
    candidate: Candidate
    family: str
    hardware: str
    hardware_hash: str
    seed: int
    epochs: float | None
    status: Status
    accuracy_key: str | None
    cost_key: str
    accuracy: float | None = None
    loss: float | None = None
    energy_pj: float | None = None
    latency_cycles: int | None = None
    dram_pj: float | None = None
    weight_bits: int | None = None
    accuracy_test: float | None = None
    accuracy_sd: float | None = None
    seeds: int = 0
    failure: Failure | None = None
    metrics: Json = field(default_factory=dict)
    wall_s: float | None = None

    @property
    def scheme(self) -> str:
        """Canonical name of the scheme."""
        return self.candidate.scheme.name

    @property
    def width(self) -> float | None:
        """Width multiplier, or None."""
        return self.candidate.width

    @property
    def dram_share(self) -> float | None:
        """DRAM energy over total energy."""
        if self.dram_pj is None or not self.energy_pj:
            return None
        return self.dram_pj / self.energy_pj


@dataclass(frozen=True)
class Result:
    """Answer to a Request: one trial per hardware, in the order of the study file."""

    request: Request
    trials: tuple[Trial, ...]
