"""Hardware from a preset's name, a YAML file or a mapping of the YAML's keys."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path as FilePath

from bitjoule.hardware.document import plain, read_file, read_text
from bitjoule.hardware.fault import Fault, HardwareError
from bitjoule.hardware.schema import Hardware
from bitjoule.hardware.validate import validated

__all__ = ["load", "preset_text", "presets"]

_FOLDER = resources.files("bitjoule.hardware") / "descriptions"


def presets() -> tuple[str, ...]:
    """Names of the shipped descriptions.

    >>> "moons-4mb" in presets()
    True
    """
    files = _FOLDER.iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """The YAML of a preset, comments and sources included, to copy and change.

    Raises:
        HardwareError: no such preset; the names are listed.
    """
    if name not in presets():
        raise _unknown(name)
    return _FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load(source: str | os.PathLike[str] | Mapping[str, object]) -> Hardware:
    """The Hardware of a preset's name, of a YAML file, or of a mapping with the YAML's keys.

    A text is a preset's name, or else a path when it ends in .yaml or .yml, holds a separator or exists.

    Raises:
        HardwareError: what cannot be read or validated; all faults at once, in the order of the document.

    >>> load("moons-4mb").kind
    'moons'
    """
    if isinstance(source, Mapping):
        document = plain(source)
        name = source.get("name")
        label = name if isinstance(name, str) and name else "hardware"
        return validated(document, label, []) if isinstance(document, dict) else _not_a_source(source)
    if isinstance(source, str) and source in presets():
        document, faults = read_text(preset_text(source), source)
        return validated(document, source, faults)
    if not isinstance(source, str | os.PathLike):
        return _not_a_source(source)
    path = FilePath(source)
    if isinstance(source, str) and not _looks_like_a_path(source, path):
        raise _unknown(source)
    document, faults = read_file(path)
    return validated(document, str(source), faults)


def _looks_like_a_path(text: str, path: FilePath) -> bool:
    return path.suffix in (".yaml", ".yml") or "/" in text or os.sep in text or path.exists()


def _not_a_source(source: object) -> Hardware:
    raise TypeError(f"hardware is a preset's name, a path or a mapping, not {type(source).__name__}")


def _unknown(name: str) -> HardwareError:
    near = difflib.get_close_matches(name, presets(), n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    text = f"is no preset (has: {', '.join(presets())}) and no YAML file{hint}"
    return HardwareError(name or "hardware", [Fault((), text)])
