"""Other tools beside our presets: who is installed where, their runs in interpreters of their own.

Requirements of the tools clash, so each of them runs in the interpreter that has it: the one of the
benchmark, else those that `--python` names. A child there gets the weights, the calibration images of every
seed, the images and their labels in one file, and writes a line of JSON per run (`ptq_tools/child.py`). A
tool that is not installed, a width that it refuses and a child that breaks are answers with their reasons,
never left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["TOOLS", "Answer", "Job", "Tool", "find", "run_peers", "widths"]

HERE = Path(__file__).resolve().parent
PROBE = (
    "import importlib.metadata as m, json, sys\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = m.version(name)\n"
    "    except m.PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


@dataclass(frozen=True)
class Tool:
    """A tool, the module of its recipes, and the distributions it needs, its own first."""

    name: str
    module: str
    needs: tuple[str, ...]


TOOLS = (
    Tool("Brevitas", "brevitas", ("brevitas", "torch")),
    Tool("AIMET", "aimet", ("aimet-torch", "torch")),
    Tool("NNCF", "nncf", ("nncf", "torch")),
    Tool("torchao", "torchao", ("torchao", "torch")),
    Tool("ONNX Runtime", "onnxruntime", ("onnxruntime", "onnx", "torch")),
)


@dataclass(frozen=True)
class Job:
    """What every tool gets: a network of the zoo and its options, widths by scheme, arrays by name.

    `ptq_tools/child.py` says which arrays.
    """

    network: str
    options: Mapping[str, object]
    schemes: Mapping[str, tuple[int, int]]
    seeds: tuple[int, ...]
    threads: int
    arrays: Mapping[str, Tensor]
    all_recipes: bool = True


@dataclass(frozen=True)
class Answer:
    """One run of a recipe; without `top1` the `reason` says why. Percent and seconds."""

    tool: str
    scheme: str
    recipe: str
    seed: int | None
    top1: float | None = None
    agreement: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    note: str = ""
    reason: str = ""


def widths(scheme: str) -> tuple[int, int] | None:
    """Weight and activation bits of a plain integer scheme, else None.

    >>> widths("w4a8"), widths("wPOT4a8")
    ((4, 8), None)
    """
    match = re.fullmatch(r"w(\d+)a(\d+)", scheme)
    return None if match is None else (int(match[1]), int(match[2]))


def find(tool: Tool, pythons: Sequence[str]) -> tuple[str, str] | str:
    """The first interpreter that has the tool and what it needs, and its version; or why there is none."""
    reasons = []
    for python in pythons:
        command = [python, "-c", PROBE, *tool.needs]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons.append(f"{python} does not start ({error})")
            continue
        if done.returncode:
            reasons.append(f"{python} fails ({last_lines(done.stderr)})")
            continue
        found = json.loads(done.stdout)
        missing = [name for name in tool.needs if name not in found]
        if not missing:
            return python, found[tool.needs[0]]
        if tool.needs[0] in found:
            reasons.append(f"{Path(python).name} has it but lacks {', '.join(missing)}")
    return "; ".join(reasons) or "not installed; --python PATH names an interpreter that has it"


def run_peers(
    job: Job,
    pythons: Sequence[str] = (),
    tools: Iterable[Tool] = TOOLS,
    tell: Callable[[Answer], None] = lambda answer: None,
) -> list[Answer]:
    """Run every tool on the job, in the running interpreter or one of `pythons`; `tell` hears each answer."""
    answers: list[Answer] = []

    def hear(answer: Answer) -> None:
        answers.append(answer)
        tell(answer)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ready = False
        for tool in tools:
            found = find(tool, (sys.executable, *pythons))
            if isinstance(found, str):
                hear(Answer(tool.name, "all", "-", None, reason=found))
                continue
            if not ready:
                write(folder, job)
                ready = True
            python, version = found
            for answer in run_tool(tool, f"{tool.name} {version}", python, folder, job):
                hear(answer)
    return answers


def write(folder: Path, job: Job) -> None:
    """The job as files."""
    np.savez(folder / "arrays.npz", **{name: tensor.numpy() for name, tensor in job.arrays.items()})
    text = {
        "network": job.network,
        "options": dict(job.options),
        "schemes": {name: list(bits) for name, bits in job.schemes.items()},
        "seeds": list(job.seeds),
        "threads": job.threads,
        "all_recipes": job.all_recipes,
    }
    (folder / "job.json").write_text(json.dumps(text), encoding="utf-8")


def run_tool(tool: Tool, name: str, python: str, folder: Path, job: Job) -> Iterable[Answer]:
    """Start the child and read its rows as they come; a broken child's last lines are the reason."""
    rows, log = folder / f"{tool.module}.jsonl", folder / f"{tool.module}.log"
    rows.touch()
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = str(job.threads)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    command = [python, "-m", "ptq_tools.child", str(folder), tool.module]
    with log.open("w", encoding="utf-8") as out, rows.open(encoding="utf-8") as lines:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        heard: list[Answer] = []
        try:
            while True:
                over = child.poll() is not None
                for row in complete_lines(lines):
                    heard.append(Answer(name, **row))
                    yield heard[-1]
                if over:
                    break
                try:
                    child.wait(0.5)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode or not heard:
        text = last_lines(log.read_text(encoding="utf-8", errors="replace"))
        what = f"the child ended with {child.returncode} after {len(heard)} runs: {text or 'it said nothing'}"
        yield Answer(name, "all" if not heard else "rest", "-", None, reason=what)


def complete_lines(lines: Any) -> Iterable[dict[str, Any]]:
    """Rows of the lines that are whole."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(place)
            return
        yield json.loads(line)


def last_lines(text: str, count: int = 2) -> str:
    """The last lines that say something."""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-count:])[-400:]
