"""A Timeloop file as plain values that know where they stand, so that every complaint names file and key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bitjoule.hardware.fault import Path, path_text

__all__ = ["MAX_BYTES", "Node", "TimeloopError", "read_yaml"]

MAX_BYTES = 4 << 20


class TimeloopError(ValueError):
    """A Timeloop file that cannot be used; the text names the file, the key and the remedy."""


@dataclass(frozen=True)
class Node:
    """A value of a document: `source` names the file, `path` the keys that lead to the value.

    >>> Node({"a": [3]}, "x.yaml").at("a").items()[0].whole()
    3
    """

    value: object
    source: str
    path: Path = ()

    def fault(self, text: str) -> TimeloopError:
        """The error "FILE: key.path TEXT"."""
        at = path_text(self.path)
        return TimeloopError(f"{self.source}: {at} {text}" if at else f"{self.source}: {text}")

    def child(self, key: str | int, value: object) -> Node:
        """A value below this one."""
        return Node(value, self.source, (*self.path, key))

    def mapping(self) -> dict[str, object]:
        """Keys and values.

        Raises:
            TimeloopError: it is none.
        """
        if not isinstance(self.value, dict):
            raise self.fault(f"must hold keys and values, not {shown(self.value)}")
        return {str(key): value for key, value in self.value.items()}

    def entries(self) -> list[tuple[str, Node]]:
        """Keys with the nodes below them, in file order."""
        return [(key, self.child(key, value)) for key, value in self.mapping().items()]

    def get(self, key: str) -> Node | None:
        """The node of a key, None where the key is absent or null."""
        value = self.mapping().get(key)
        return None if value is None else self.child(key, value)

    def at(self, key: str) -> Node:
        """The node of a key.

        Raises:
            TimeloopError: no such key; a key that looks alike is named.
        """
        found = self.get(key)
        if found is None:
            near = difflib.get_close_matches(key, self.mapping(), n=1, cutoff=0.75)
            hint = f"; it has {near[0]!r}" if near and near[0] != key else ""
            raise self.child(key, None).fault(f"is missing{hint}")
        return found

    def items(self) -> list[Node]:
        """Nodes of a list."""
        if not isinstance(self.value, list):
            raise self.fault(f"must be a list, not {shown(self.value)}")
        return [self.child(index, value) for index, value in enumerate(self.value)]

    def whole(self, minimum: int = 1) -> int:
        """A whole number >= `minimum`; 16.0 is one."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.fault(f"must be a whole number >= {minimum}, not {shown(self.value)}")
        return value

    def number(self) -> float:
        """A finite number >= 0."""
        value = self.value
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not math.isfinite(float(value)) or float(value) < 0:  # type: ignore[arg-type]
            raise self.fault(f"must be a finite number >= 0, not {shown(value)}")
        return float(value)  # type: ignore[arg-type]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fault(f"must be a text, not {shown(self.value)}")
        return self.value

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Paths of the keys that are not among `known`."""
        among = set(known)
        return [path_text(node.path) for key, node in self.entries() if key not in among]


def shown(value: object) -> str:
    """A value as complaints print it: short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_yaml(path: FilePath | str) -> Node:
    """The top of a Timeloop YAML file (JSON is YAML too).

    Raises:
        TimeloopError: no file, a directory, over 4 MiB, not UTF-8, not YAML (duplicate keys and tags too),
            or empty.
    """
    file = FilePath(path)
    top = Node(None, str(path))
    if file.is_dir():
        raise top.fault("is a directory; give the YAML file in it")
    if not file.is_file():
        raise top.fault("there is no such file")
    data = file.read_bytes()
    if len(data) > MAX_BYTES:
        raise top.fault(f"must be at most {MAX_BYTES >> 20} MiB; Timeloop's files are a few KiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise top.fault(f"must be UTF-8 text; byte {error.start} is not") from None
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise top.fault(f"is not YAML: {where}{problem}") from None
    except RecursionError:
        raise top.fault("nests too deeply; Timeloop's files have about eight levels") from None
    if value is None:
        raise top.fault("is empty")
    return Node(value, str(path))
