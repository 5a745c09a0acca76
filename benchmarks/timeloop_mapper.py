"""Runs an installed `timeloop-mapper` on a layer of benchmarks/mapping.py and reads what it found.

Written after the tool's documented interface; where no `timeloop-mapper` is installed it is not used, and the
recorded figures of peers/timeloop.json stand. Expects a folder with arch/eyeriss_like.yaml,
arch/simba_like.yaml (with constraints), ert/*.ERT.yaml, ert/*.ART.yaml and problems/*.yaml.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bitjoule.mapping.problem import Problem

DESIGNS = {"eyeriss-timeloop": "eyeriss_like", "simba-timeloop": "simba_like"}

SETTINGS = {
    "mapper": {
        "optimization-metrics": ["edp"],
        "num-threads": 1,
        "algorithm": "random-pruned",
        "timeout": 15000,
        "victory-condition": 500,
        "live-status": False,
    }
}


@dataclass(frozen=True)
class TimeloopMapper:
    """The tool and its input files."""

    program: str
    inputs: Path

    @staticmethod
    def installed(inputs: Path | None) -> TimeloopMapper | None:
        """The tool, where it is on the PATH and its inputs are named."""
        program = shutil.which("timeloop-mapper")
        return TimeloopMapper(program, inputs) if program and inputs else None

    def problem(self, problem: Problem) -> dict[str, Any]:
        """The problem document: a shape of the inputs with this layer's bounds."""
        depthwise = problem.bound("G") > 1
        pattern = "L2_*.yaml" if depthwise else "L1_*.yaml"
        template = next((self.inputs / "problems").glob(pattern))
        document: dict[str, Any] = YAML(typ="safe").load(template.read_text())
        instance = document["problem"]["instance"]
        for dim in "NCPQRS":
            instance[dim] = problem.bound(dim)
        instance["M"] = problem.bound("G") * problem.bound("K")
        for key in ("Wstride", "Hstride"):
            instance[key] = problem.stride[0]
        return document

    def measure(self, problem: Problem, hardware: str) -> dict[str, float]:
        """User CPU seconds, energy and EDP of one run.

        Raises:
            RuntimeError: the tool failed or printed no result.
        """
        design = DESIGNS[hardware]  # JSON documents are YAML documents
        with tempfile.TemporaryDirectory() as folder:
            at = Path(folder)
            (at / "problem.yaml").write_text(json.dumps(self.problem(problem)))
            (at / "mapper.yaml").write_text(json.dumps(SETTINGS))
            files = [
                self.inputs / "arch" / f"{design}.yaml",
                self.inputs / "ert" / f"{design}.ERT.yaml",
                self.inputs / "ert" / f"{design}.ART.yaml",
                at / "problem.yaml",
                at / "mapper.yaml",
            ]
            command = [self.program, *(str(path.resolve()) for path in files), "-o", str(at)]
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)
            seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            report = at / "timeloop-mapper.stats.txt"
            if done.returncode or not report.exists():
                raise RuntimeError(f"timeloop-mapper on {problem.name}: {done.stderr.strip()[-500:]}")
            return {"cpu_s": seconds, **read_statistics(report.read_text())}


def read_statistics(text: str) -> dict[str, float]:
    """Energy and EDP of `timeloop-mapper.stats.txt` (its summary prints `Energy: x uJ` and `Cycles: n`).

    Raises:
        RuntimeError: a figure is missing.
    """
    energy = re.findall(r"^\s*Energy: ([\d.eE+-]+) uJ", text, flags=re.MULTILINE)
    cycles = re.findall(r"^\s*Cycles: (\d+)", text, flags=re.MULTILINE)
    if not energy or not cycles:
        raise RuntimeError(
            "timeloop-mapper printed no energy or cycles: no valid mapping, or another version"
        )
    found = float(energy[-1])
    return {"energy_uj": found, "edp_j_cycles": found * 1e-6 * int(cycles[-1])}
