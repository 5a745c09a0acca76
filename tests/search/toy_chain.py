"""The toy chain of search.md section 9 as an evaluator and a cost function: exact, quick, no training.

A candidate's filters are the weight widths w_l and 2^depth the input widths a_l of a chain of layers, one
layer per block. Settings in the evaluator's config make it slow, noisy or faulty on purpose.
"""

import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bitjoule.search.space import Candidate
from bitjoule.search.study_file import StudyFile
from bitjoule.search.trial import AccuracyResult, Budget, CostRecord, EvaluatorSpec, Split
from bitjoule.workload import Graph

FACTORY = "tests.search.toy_chain:toy_evaluator"


def energy_pj(w: Sequence[int], a: Sequence[int]) -> float:
    """Energy of the chain with weight widths w and input widths a; the last output has 8 bits."""
    outputs = [*a[1:], 8]
    total = 0.0
    for l in range(len(w)):
        macs, weights = 1e6 * (1 + 7 * l % 5), 1e4 * (1 + 3 * l % 7)
        acts, acts_out = 1e4 * (1 + 5 * l % 6), 1e4 * (1 + 5 * (l + 1) % 6)
        total += 0.003 * macs * w[l] * a[l] + weights * w[l] + 0.5 * acts * a[l] + 0.5 * acts_out * outputs[l]
    return total


def accuracy(w: Sequence[int], a: Sequence[int]) -> float:
    """Accuracy of the chain."""
    loss = sum((1 + 11 * l % 9) * 4.0 ** -w[l] + 0.5 * (1 + 13 * l % 8) * 4.0 ** -a[l] for l in range(len(w)))
    return 0.9 - 0.05 * loss


def widths(candidate: Candidate) -> tuple[list[int], list[int]]:
    """Weight and input widths of a candidate."""
    topology = dict(candidate.topology)
    letters = sorted(name[2:] for name in topology if name.startswith("n_"))
    return [int(topology[f"F_{x}"]) for x in letters], [2 ** int(topology[f"n_{x}"]) for x in letters]


FACTORS = {"toy": 1.0, "toy2": 2.0, "narrow": 0.5}


class ToyCost:
    """CostFunction of the chain; FACTORS are the hardware by name, "narrow" refuses 8-bit weights."""

    version = 1

    def __init__(self) -> None:
        self.calls = 0

    def hardware_hash(self, hardware: str) -> str:
        return f"hash-of-{hardware}"

    def payload(self, candidate: Candidate, hardware: str) -> dict[str, object]:
        return {"candidate": candidate.to_json(), "hardware": hardware, "version": self.version}

    def network_payload(self, candidate: Candidate) -> dict[str, object]:
        return {"name": candidate.network, "topology": [list(pair) for pair in candidate.topology]}

    def __call__(self, candidate: Candidate, hardware: str) -> CostRecord:
        self.calls += 1
        w, a = widths(candidate)
        breakdown: dict[str, object] = {"weight_bits": 1000 * sum(w), "macs": 1e6 * len(w)}
        if hardware == "narrow" and max(w) >= 8:
            return CostRecord(None, None, None, breakdown, "weights of 8 bits do not fit 4-bit multipliers")
        total = energy_pj(w, a) * FACTORS[hardware]
        item = {"component": "level:DRAM", "tensor": "weights", "action": "read", "count": 1}
        layer = {"name": "chain", "items": [{**item, "energy_pj": total, "bits_moved": 8}]}
        breakdown["cost"] = {"layers": [layer]}
        breakdown["proxies"] = dict.fromkeys(
            (
                *("macs", "bops", "ace", "aqt_compute", "model_bits"),
                *("activation_bits", "peak_activation_bits", "cpu64", "params"),
            ),
            float(sum(w)),
        )
        return CostRecord(total, 1000, total, breakdown)


class ToyEvaluator:
    """Accuracy of the chain. `config`: sleep_s, log (file of labels), faults (by part of a label)."""

    name = "toy"
    version = 1

    def __init__(self, config: dict[str, object]) -> None:
        self.config = config

    def fingerprint(self) -> dict[str, object]:
        return {"role": self.config.get("role", "candidate")}

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
        label = f"{candidate.label} seed {seed} {split}"
        log = self.config.get("log")
        if isinstance(log, str):
            with open(log, "a") as file:
                file.write(label + "\n")
        sleep_s = self.config.get("sleep_s", 0.0)
        assert isinstance(sleep_s, float)
        until = time.monotonic() + sleep_s
        while time.monotonic() < until:
            time.sleep(min(0.01, sleep_s))
            if stop() and self.config.get("polite"):
                raise RuntimeError("stopped after a checkpoint")
        faults = self.config.get("faults", {})
        assert isinstance(faults, dict)
        for part, fault in faults.items():
            if part in label:
                _misbehave(str(fault), workdir)
        if self.config.get("role") == "candidate-of-parent":
            assert parent_workdir is not None
            assert (parent_workdir / "weights.safetensors").exists()
        weights = workdir / "weights.safetensors"
        if not weights.exists():
            weights.write_bytes(label.encode())
        value = accuracy(*widths(candidate)) + 0.001 * seed - (0.005 if split == "test" else 0.0)
        return AccuracyResult(value, 1 - value, {"epochs": budget.epochs}, weights)


def _misbehave(fault: str, workdir: Path) -> None:
    if fault == "raise":
        raise ValueError("the third layer has no weights")
    if fault == "nan":
        error = FloatingPointError("loss was not finite in 3 consecutive steps")
        error.metrics = {"last_finite_epoch": 2}  # type: ignore[attr-defined]
        raise error
    if fault == "memory":
        raise MemoryError("needs 400 GiB")
    if fault == "disk":
        raise OSError(28, "No space left on device")
    if fault == "full":
        _save_without_room(workdir / "weights.safetensors")
    if fault == "once":  # crashes the first time only
        mark = workdir / "crashed"
        if mark.exists():
            return
        mark.touch()
        fault = "exit"
    if fault == "exit":
        print("about to leave", file=sys.stderr, flush=True)
        os._exit(3)
    if fault == "sys.exit":
        sys.exit(4)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        while True:
            time.sleep(0.05)


def _save_without_room(path: Path) -> None:
    """What safetensors raises when its file may not grow: no OSError, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        save_file({"weight": np.zeros(100_000, np.float32)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        path.unlink(missing_ok=True)


def toy_evaluator(config: dict[str, object]) -> ToyEvaluator:
    """The factory that workers import."""
    return ToyEvaluator(config)


def nan_evaluator(config: dict[str, object]) -> ToyEvaluator:
    """Returns NaN accuracies."""

    class Nan(ToyEvaluator):
        def __call__(self, candidate, budget, seed, workdir, *, split, parent_workdir, stop):  # type: ignore[no-untyped-def]
            return AccuracyResult(math.nan, math.nan)

    return Nan(config)


class ToyJoin:
    """Join of the toy chain; `config` goes to the evaluator."""

    def __init__(self, config: dict[str, object] | None = None, manifest: str = "toy-data") -> None:
        self.config = dict(config or {})
        self.manifest = manifest

    def evaluator(self, file: StudyFile) -> EvaluatorSpec:
        role = {"parent": "candidate-of-parent", "scratch": "candidate"}[file.accuracy.init]
        return EvaluatorSpec(FACTORY, {**self.config, "role": role})

    def graph(self, candidate: Candidate) -> Graph:
        raise AssertionError("the toy chain is priced by ToyCost")

    def graph_content(self, file: StudyFile) -> dict[str, object]:
        return {"network": file.network.name}

    def data_card(self, file: StudyFile) -> dict[str, object]:
        sizes = {"train": 900, "validation": 100, "test": 200}
        return {"name": "toy", "manifest_hash": self.manifest, "classes": 10, "lossy": False, "sizes": sizes}


def main() -> None:
    """Run the study `argv[1]` of file `argv[2]` with JSON settings `argv[3]`: what the kill tests kill."""
    from bitjoule.search.jobs import Interrupted
    from bitjoule.search.study import Study

    settings = json.loads(sys.argv[3])
    study = Study.open(sys.argv[1], sys.argv[2], join=ToyJoin(settings["config"]), cost_function=ToyCost())
    try:
        study.run(settings["executor"], workers=2)
    except Interrupted as stopped:
        print(stopped)
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    main()
