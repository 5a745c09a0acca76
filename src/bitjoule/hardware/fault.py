"""What is wrong with a hardware description: every fault at once, in the order of the document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Fault", "HardwareError", "Path", "document_order", "path_text"]

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
