"""Case files: fixed mappings with the counts, cycles and energies that Timeloop printed for them.

One JSON object per line (mapping.md section 5): `id`, `arch`, `problem`, `mapping`, `kind`, `bitwidths` where
the kind is `paper-mode`, and `result`. Integers must be equal, energies within 0.2 % or 1 pJ, the total
within 0.02 uJ (native) or 0.6 % (paper mode, which prints three digits).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bitjoule.hardware.timeloop_document import Node
from bitjoule.mapping.evaluate import Evaluation, TensorCost, evaluate
from bitjoule.mapping.packing import Mode
from bitjoule.mapping.problem import TENSORS
from bitjoule.mapping.timeloop_accelerator import read_accelerator
from bitjoule.mapping.timeloop_mapping import mapping_of_entries
from bitjoule.mapping.timeloop_problem import read_problem, with_bits

__all__ = ["CaseResult", "read_cases", "run_case"]

RELATIVE = 0.002
ABSOLUTE_PJ = 1.0
NATIVE_UJ = 0.02
PAPER_RELATIVE = 0.006


@dataclass(frozen=True)
class CaseResult:
    """One case: what we count and where that differs from what the file says.

    `integers`: how many were compared; `energy_error`: the greatest relative one of all energies above 1 pJ;
    `differences`: texts, empty = equal. A case without a `result` has compared 0 integers.
    """

    name: str
    mode: Mode
    evaluation: Evaluation
    integers: int
    energy_error: float
    differences: tuple[str, ...]


def read_cases(path: Path | str) -> Iterator[Node]:
    """The cases of a JSONL file, one by one.

    Raises:
        TimeloopError: no file, a line that is no JSON object, or a file without cases.
    """
    file = Path(path)
    if not file.is_file():
        raise Node(None, str(path)).fault("there is no such file")
    found = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        source = Node(None, f"{path}:{number}")
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise source.fault(f"is not JSON: {error.msg} at column {error.colno}") from None
        case = Node(value, source.source)
        case.mapping()
        found = True
        yield case
    if not found:
        raise Node(None, str(path)).fault("holds no cases; it takes one JSON object per line")


def run_case(case: Node, root: Path) -> CaseResult:
    """Evaluate a case whose files lie under `root`, and compare it with its `result`.

    Raises:
        TimeloopError: files or keys that cannot be read, factors that do not fit the problem.
        ValueError: bits that no word of a level can hold.
    """
    arch = case.at("arch").text()
    ert = root / "ert" / f"{arch}.ERT.yaml"
    hardware = read_accelerator(root / "arch" / f"{arch}.noconstraints.yaml", ert)
    read = read_problem(root / case.at("problem").text())
    problem = replace(read.problem, mac_pj=hardware.mac_pj)
    mode = _mode(case.at("kind"))
    if mode == "paper":
        widths = {key.lower(): node.whole() for key, node in case.at("bitwidths").entries()}
        problem = with_bits(problem, widths)
    mapping = mapping_of_entries(case.at("mapping"), read, hardware.accelerator)
    evaluation = evaluate(problem, mapping, hardware.accelerator, mode=mode)
    comparison = _Comparison([], 0, 0.0)
    result = case.get("result")
    if result is not None:
        comparison.compare(result, evaluation, mode)
    return CaseResult(
        case.at("id").text(),
        mode,
        evaluation,
        comparison.integers,
        comparison.energy_error,
        tuple(comparison.differences),
    )


def _mode(kind: Node) -> Mode:
    modes: dict[str, Mode] = {"native": "native", "paper-mode": "paper"}
    mode = modes.get(kind.text())
    if mode is None:
        raise kind.fault(f"must be native or paper-mode, not {kind.value!r}")
    return mode


@dataclass
class _Comparison:
    """Differences found so far."""

    differences: list[str]
    integers: int
    energy_error: float

    def compare(self, result: Node, evaluation: Evaluation, mode: Mode) -> None:
        """Everything that the result says and that mapping.md section 5 wants equal."""
        self.whole("cycles", result.at("cycles"), evaluation.latency_cycles)
        said, got = result.at("energy_uJ").number(), evaluation.energy_pj / 1e6
        if abs(got - said) > (NATIVE_UJ if mode == "native" else PAPER_RELATIVE * said):
            self.differences.append(f"energy is {got:.6g} uJ, not {said:g}")
        ours = {level.name: level for level in evaluation.levels}
        for name, node in result.at("levels").entries():
            if name == "mac":
                self.whole("mac computes", node.at("computes"), evaluation.macs)
                self.whole("mac instances", node.at("instances"), evaluation.mac_instances)
                self.energy("mac", node.at("energy_pJ"), evaluation.mac_energy_pj)
                continue
            level = ours.get(name)
            if level is None:
                raise node.fault(f"is no level of the architecture (has: {', '.join(ours)})")
            self.energy(f"{name} leakage", node.at("leak_pJ"), level.leak_pj)
            costs = {cost.tensor: cost for cost in level.tensors}
            said_tensors = {key.lower(): child for key, child in node.entries() if key.lower() in TENSORS}
            if set(said_tensors) != set(costs):
                kept, wanted = ", ".join(costs) or "nothing", ", ".join(said_tensors) or "nothing"
                self.differences.append(f"{name} keeps {kept}, not {wanted}")
            for tensor in [tensor for tensor in said_tensors if tensor in costs]:
                self.tensor(f"{name} {tensor}", said_tensors[tensor], costs[tensor])

    def tensor(self, where: str, node: Node, cost: TensorCost) -> None:
        """Counts and energy of a tensor at a level."""
        counts = {
            "tile_words": cost.tile_words,
            "instances": cost.instances,
            "clusters": cost.clusters,
            "reads": cost.read_words,
            "fills": cost.fill_words,
            "updates": cost.update_words,
        }
        for key, got in counts.items():
            said = node.get(key)
            if said is not None:
                self.whole(f"{where} {key}", said, got)
        self.energy(where, node.at("energy_pJ"), cost.energy_pj)

    def whole(self, where: str, said: Node, got: int) -> None:
        """Integers must be equal."""
        self.integers += 1
        if said.whole(0) != got:
            self.differences.append(f"{where} is {got}, not {said.whole(0)}")

    def energy(self, where: str, said: Node, got: float) -> None:
        """Energies must be close."""
        wanted = said.number()
        error = abs(got - wanted)
        if wanted > ABSOLUTE_PJ:
            self.energy_error = max(self.energy_error, error / wanted)
        if error > max(ABSOLUTE_PJ, RELATIVE * wanted):
            self.differences.append(f"{where} energy is {got:.8g} pJ, not {wanted:.8g}")
