"""`bitjoule doctor`: is everything here that bitjoule needs, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bitjoule.cli.output import JsonOption, NoColorOption, VerboseOption, print_json, print_table, speaking

__all__ = ["doctor"]

NEEDED = (
    "torch",
    "numpy",
    "scipy",
    "pydantic",
    "ruamel.yaml",
    "typer",
    "rich",
    "plotly",
    "pyarrow",
    "pillow",
)
EXTRAS = {"onnx": "reading and writing ONNX files", "ray": "studies on a cluster"}
LOW_DISK_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, what was found, is it good enough."""

    what: str
    found: str
    ok: bool
    remedy: str = ""


def doctor(
    study: Annotated[Path | None, typer.Argument(help="A study whose lock and store are looked at.")] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Versions, cores, GPU, disk, optional extras, locks. Exit code 1 when something needed is missing."""
    with speaking(verbose=verbose):
        findings = [*_versions(), *_machine(), *_disk(), *(_study(study) if study else ())]
        if as_json:
            print_json("doctor", {"findings": [vars(finding) for finding in findings]})
        else:
            rows: list[tuple[object, ...]] = [
                ("ok" if finding.ok else "!!", finding.what, finding.found, finding.remedy)
                for finding in findings
            ]
            print_table("", dict.fromkeys(("", "what", "found", "remedy"), "left"), rows, no_color=no_color)
        if not all(finding.ok for finding in findings):
            raise typer.Exit(1)


def _versions() -> list[Finding]:
    findings = [
        Finding("python", platform.python_version(), sys.version_info >= (3, 11), "install Python 3.11")
    ]
    for package in ("bitjoule", *NEEDED):
        version = _version(package)
        remedy = "" if version else "pip install -c constraints.txt bitjoule"
        findings.append(Finding(package, version or "missing", version is not None, remedy))
    for package, purpose in EXTRAS.items():
        version = _version(package)
        remedy = "" if version else f"only for {purpose}: pip install 'bitjoule[{package}]'"
        findings.append(Finding(f"{package} (optional)", version or "not installed", True, remedy))
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Finding("cores", str(cores), cores >= 1), Finding("gpu", _gpu(), True)]


def _gpu() -> str:
    """Asked of the driver's own tool: importing torch for this would take a second."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none (training runs on the CPU)"
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "; ".join(answer.stdout.split("\n")).strip("; ") or "driver gives no answer"


def _disk() -> list[Finding]:
    findings = []
    for label, folder in (
        ("disk here", Path.cwd()),
        ("disk for temporary files", Path(tempfile.gettempdir())),
    ):
        free = shutil.disk_usage(folder).free / 2**30
        remedy = "" if free >= LOW_DISK_GIB else "a study stops when the disk is full: free some space"
        findings.append(Finding(label, f"{free:.1f} GiB free", free >= LOW_DISK_GIB, remedy))
    return findings


def _study(folder: Path) -> list[Finding]:
    if not (folder / "study.sqlite").is_file():
        return [Finding("study", f"no study in {folder}", False, "give the folder NAME.study")]
    import fcntl
    import sqlite3

    findings = []
    lock = folder / "study.lock"
    if lock.exists():
        with lock.open("r+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                findings.append(Finding("study lock", "free", True))
            except OSError:
                found = handle.read().strip() or "held"
                findings.append(Finding("study lock", found, True, "a driver is running this study"))
    with sqlite3.connect(f"file:{folder / 'study.sqlite'}?mode=ro", uri=True) as store:
        verdict = store.execute("PRAGMA integrity_check").fetchone()[0]
    findings.append(
        Finding("study store", str(verdict), verdict == "ok", "" if verdict == "ok" else "restore a copy")
    )
    return findings
