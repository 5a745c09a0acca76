"""What is wrong with a hardware description: every fault at once, in the order of the document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

__all__ = [
    "Fault",
    "HardwareError",
    "Path",
    "document_order",
    "is_number",
    "path_text",
    "shown",
    "value_at",
]

LARGEST = 1e300

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top of the document."""


@dataclass(frozen=True)
class Fault:
    """One fault: `path` says where, `text` the whole line that people read."""

    path: Path
    text: str

    def __str__(self) -> str:
        return self.text


class HardwareError(ValueError):
    """A hardware description that cannot be used. `source` names it, `faults` holds every fault found.

    >>> print(HardwareError("my.yaml", [Fault(("moons", "p16"), "moons.p16 must be > 0, not 0")]))
    my.yaml: moons.p16 must be > 0, not 0
    """

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = [fault.text for fault in self.faults]
        if len(lines) == 1:
            text = f"{source}: {lines[0]}"
        else:
            text = "\n  ".join([f"{source}: {len(lines)} faults", *lines])
        super().__init__(text)


def path_text(path: Path) -> str:
    """How people write a path.

    >>> path_text(("levels", 1, "read_pj"))
    'levels[1].read_pj'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def document_order(faults: Iterable[Fault], document: object) -> list[Fault]:
    """Faults sorted by where they stand in `document`; a missing key stands at the end of its mapping."""
    return sorted(dict.fromkeys(faults), key=lambda fault: _position(fault.path, document))


def _position(path: Path, document: object) -> tuple[int, ...]:
    position: list[int] = []
    for part in path:
        if isinstance(document, Mapping):
            keys = list(document)
            position.append(keys.index(part) if part in document else len(keys))
            document = document.get(part)
        elif isinstance(document, Sequence) and isinstance(part, int) and not isinstance(document, str):
            position.append(part)
            document = document[part] if part < len(document) else None
        else:
            position.append(0)
            document = None
    return tuple(position)


def shown(value: Any) -> str:
    """How people read a value of the document."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty one"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def value_at(document: object, path: Path) -> Any:
    """What stands at `path`, None when nothing does."""
    for part in path:
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return None
    return document


def is_number(value: object) -> TypeGuard[int | float]:
    """A finite number that is no boolean; a whole number that no float can hold is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
