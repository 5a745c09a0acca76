"""What an accuracy is the accuracy of: payloads, content keys and tasks of candidates.

The training key leaves the split out: one training serves the validation and the test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.search.key import key
from bitjoule.search.space import Candidate
from bitjoule.search.study_file import StudyFile
from bitjoule.search.task import Task, load_evaluator
from bitjoule.search.trial import Budget, CostFunction, EvaluatorSpec, Json, Split

__all__ = ["AccuracyKeys", "without_seed"]

_FLOAT32 = parse_scheme("float32")


class AccuracyKeys:
    """Keys of one study file.

    Args:
        file: the study file.
        spec: evaluator of candidates.
        parent_spec: evaluator of float32 parents; None when nothing starts from a parent.
        costs: knows the content of networks.
        data_hash: manifest hash of the data.
    """

    def __init__(
        self,
        file: StudyFile,
        spec: EvaluatorSpec,
        parent_spec: EvaluatorSpec | None,
        costs: CostFunction,
        data_hash: str,
    ) -> None:
        self.data_hash = data_hash
        self._file = file
        self._costs = costs
        self._specs = {False: spec} if parent_spec is None else {False: spec, True: parent_spec}
        self._evaluators = {is_parent: _identity(made) for is_parent, made in self._specs.items()}
        self._networks: dict[tuple[tuple[str, int | float], ...], Json] = {}
        self._keys: dict[tuple[Candidate, int, Split], str] = {}

    @property
    def float32(self) -> Scheme:
        """The scheme of parents."""
        return _FLOAT32

    @property
    def has_parents(self) -> bool:
        """True when candidates start from, or learn from, a trained float32 network of their topology."""
        return True in self._specs

    def budget(self, candidate: Candidate) -> Budget:
        """Budget of a candidate, or of a parent."""
        recipe = self._file.accuracy.budget
        if self._is_parent(candidate) and self._file.accuracy.parent is not None:
            recipe = self._file.accuracy.parent
        return recipe.budget

    def payload(self, candidate: Candidate, seed: int, split: Split) -> Json:
        """Everything that decides the accuracy. No hardware, no executor, no paths."""
        parent = None
        if self.has_parents and not self._is_parent(candidate):
            parent = self.key(candidate.with_scheme(_FLOAT32), seed, "validation")
        return {
            "network": self._network(candidate),
            "scheme": candidate.scheme.name,
            "evaluator": self._evaluators[self._is_parent(candidate)],
            "data": {
                "manifest": self.data_hash,
                **self._file.data.model_dump(mode="json", exclude={"root"}),
            },
            "budget": self.budget(candidate).to_json(),
            "seed": seed,
            "split": split,
            "parent": parent,
        }

    def key(self, candidate: Candidate, seed: int, split: Split) -> str:
        """Content key of the accuracy."""
        wanted = (candidate, seed, split)
        if wanted not in self._keys:
            self._keys[wanted] = key("accuracy", self.payload(*wanted))
        return self._keys[wanted]

    def training_key(self, candidate: Candidate, seed: int) -> str:
        """Content key of the training: the name of its checkpoint folder."""
        payload = self.payload(candidate, seed, "validation")
        del payload["split"]
        return key("training", payload)

    def task(
        self,
        candidate: Candidate,
        seed: int,
        split: Split,
        checkpoints: Path,
        parent_workdir: str | None,
        timeout_s: float | None,
    ) -> Task:
        """The Task that evaluates it."""
        return Task(
            key=self.key(candidate, seed, split),
            evaluator=self._specs[self._is_parent(candidate)],
            candidate=candidate,
            budget=self.budget(candidate),
            seed=seed,
            split=split,
            workdir=str(checkpoints / self.training_key(candidate, seed)),
            parent_workdir=parent_workdir,
            timeout_s=timeout_s,
        )

    def _is_parent(self, candidate: Candidate) -> bool:
        return self.has_parents and candidate.scheme.is_float32

    def _network(self, candidate: Candidate) -> Json:
        if candidate.topology not in self._networks:
            section = self._file.network.model_dump(mode="json", exclude={"onnx"})
            self._networks[candidate.topology] = {**section, **self._costs.network_payload(candidate)}
        return self._networks[candidate.topology]


def without_seed(payloads: Mapping[str, Json], accuracy_key: str) -> str:
    """Key of what an accuracy has in common with the same candidate's other seeds and splits.

    `payloads` are all stored payloads by key: a parent is followed into its own payload.
    """
    payload = dict(payloads[accuracy_key])
    parent = payload.get("parent")
    del payload["seed"], payload["split"]
    if isinstance(parent, str):
        payload["parent"] = without_seed(payloads, parent) if parent in payloads else "unknown"
    return key("candidate", payload)


def _identity(spec: EvaluatorSpec) -> Json:
    evaluator = load_evaluator(spec)
    return {
        "name": evaluator.name,
        "version": evaluator.version,
        "fingerprint": evaluator.fingerprint(),
    }
