"""The YAML of a study as plain values that remember their lines.

YAML 1.2 (`1e-12` is a number, `no` is a text). Files are hostile until validated: at most 1 MiB, no aliases,
no tags, no key twice, no second document.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MAX_BYTES", "Place", "StudyFileError", "YamlText", "place_text", "read_yaml"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 20

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))


class StudyFileError(ValueError):
    """Everything wrong with a study file, one line per fault: `poq.yaml:9: space.schemes[2]: ...`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class YamlText:
    """Plain values of a document (`data`), and the line of each of their places."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines: dict[Place, int] = {(): 1}
        self.faults: list[str] = []
        self.data = self._read(text)
        if self.faults:
            raise StudyFileError(self.faults)

    def fault(self, place: Place, text: str) -> str:
        """One line that people read: file, line, key path, what is wrong."""
        known = place
        while known not in self.lines:
            known = known[:-1]
        where = f"{self.name}:{self.lines[known]}: "
        return where + (f"{place_text(place)}: {text}" if place else text)

    def _read(self, text: str) -> object:
        if len(text.encode()) > MAX_BYTES:
            raise StudyFileError([f"{self.name}: larger than 1 MiB; a study file has a few dozen lines"])
        yaml = YAML(typ="safe", pure=True)
        try:
            depth = 0
            for event in yaml.parse(text):
                depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
                if depth > MAX_DEPTH:
                    raise StudyFileError([f"{self.name}: nests deeper than {MAX_DEPTH} levels"])
                if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
                    line = event.start_mark.line
                    self._complain(line, "anchors and aliases are refused; write the value out")
                elif getattr(event, "tag", None) is not None:
                    line = event.start_mark.line
                    self._complain(line, f"the YAML tag {str(event.tag)!r} is refused; plain values only")
            if self.faults:
                return None
            yaml = YAML(typ="safe", pure=True)
            node = yaml.compose(text)
            return None if node is None else self._value(yaml, node, ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = 1 if mark is None else mark.line + 1
            raise StudyFileError(
                [f"{self.name}:{line}: not YAML: {error.problem or error.context}"]
            ) from None
        except YAMLError as error:
            raise StudyFileError([f"{self.name}: not YAML: {str(error).splitlines()[0]}"]) from None

    def _value(self, yaml: YAML, node: Node, place: Place) -> object:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return self._mapping(yaml, node, place)
        if isinstance(node, SequenceNode):
            return [self._value(yaml, child, (*place, index)) for index, child in enumerate(node.value)]
        if str(node.tag) not in SCALARS:
            return str(node.value)  # a date: the text as it stands
        value: object = yaml.constructor.construct_object(node)
        return value

    def _mapping(self, yaml: YAML, node: MappingNode, place: Place) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line
            if not isinstance(key_node, ScalarNode):
                self._complain(line, "a key must be a word, not a list or mapping")
                continue
            key = str(key_node.value)
            child = (*place, key)
            if key in found:
                first = self.lines[child]
                self._complain(line, f"{place_text(child)}: stands twice, first in line {first}; keep one")
                continue
            self.lines[child] = line + 1
            found[key] = self._value(yaml, value_node, child)
        return found

    def _complain(self, line: int, text: str) -> None:
        self.faults.append(f"{self.name}:{line + 1}: {text}")


def read_yaml(path: Path, name: str | None = None) -> YamlText:
    """The document of a file; its faults call it `name`, or by the name of the file.

    Raises:
        StudyFileError: no file, a folder, over 1 MiB, not UTF-8, not YAML, or YAML that is refused.
    """
    name = path.name if name is None else name
    if path.is_dir():
        raise StudyFileError([f"{name}: is a folder, not a study file"])
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise StudyFileError([_missing(path)]) from None
    except OSError as error:
        raise StudyFileError([f"{name}: cannot be read: {error.strerror}"]) from None
    try:
        return YamlText(name, content.decode())
    except UnicodeDecodeError as error:
        raise StudyFileError([f"{name}: not UTF-8 text (byte {error.start})"]) from None


def place_text(place: Place) -> str:
    """The key path as people write it.

    >>> place_text(("space", "schemes", 2))
    'space.schemes[2]'
    """
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _missing(path: Path) -> str:
    folder = path.parent
    names = [other.name for other in folder.iterdir() if other.is_file()] if folder.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"no file '{path}' here" + (f"; did you mean '{path.with_name(near[0])}'?" if near else "")
