"""A YAML 1.2 file as plain dicts, lists and scalars. Files are hostile: size, aliases, tags are bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bitjoule.hardware.fault import Fault, HardwareError, Path, path_text

__all__ = ["MAX_ALIASES", "MAX_BYTES", "plain", "read_file", "read_text"]

MAX_BYTES = 1 << 20
MAX_ALIASES = 100

_PLAIN_KINDS = ("map", "seq", "str", "int", "float", "bool", "null")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in _PLAIN_KINDS)


def read_file(path: FilePath) -> tuple[dict[str, object], list[Fault]]:
    """The document in `path` and the faults of its form (duplicate keys, tags).

    Raises:
        HardwareError: no file, a directory, over 1 MiB, not UTF-8, not YAML, not a mapping, too many aliases.
    """
    source = str(path)
    if path.is_dir():
        raise _refusal(source, "is a directory; give the YAML file in it")
    if not path.is_file():
        raise _refusal(source, "there is no such file; give a preset's name or the path of a YAML file")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(source, f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refusal(source, "must be at most 1 MiB; a hardware description is a few KiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(source, f"must be UTF-8 text; byte {error.start} is not") from None
    return read_text(text, source)


def read_text(text: str, source: str) -> tuple[dict[str, object], list[Fault]]:
    """As `read_file`, for text; `source` is how errors call it.

    >>> read_text("moons: {p16: 64}", "my.yaml")
    ({'moons': {'p16': 64}}, [])
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        reader = _Reader(yaml, source)
        document = None if root is None else reader.value(root, ())
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _refusal(source, f"is not YAML: {where}{problem}") from None
    except RecursionError:
        raise _refusal(source, "nests too deeply; a hardware description has about four levels") from None
    if not isinstance(document, dict):
        found = "nothing" if document is None else "a list" if isinstance(document, list) else "one value"
        raise _refusal(source, f"must hold keys and values (schema, name, kind, ...), not {found}")
    return document, reader.faults


class _Reader:
    """Node tree to plain values; collects duplicate keys and tags, counts alias expansions."""

    def __init__(self, yaml: YAML, source: str) -> None:
        self.yaml = yaml
        self.source = source
        self.faults: list[Fault] = []
        self.seen: set[int] = set()
        self.expansions = 0

    def value(self, node: Node, path: Path) -> object:
        if id(node) in self.seen:
            self.expansions += 1
            if self.expansions > MAX_ALIASES:
                raise _refusal(self.source, f"expands more than {MAX_ALIASES} aliases; write the values out")
        self.seen.add(id(node))
        tag = str(node.tag)
        if tag not in _PLAIN_TAGS:
            at = path_text(path) or "the document"
            self.faults.append(Fault(path, f"{at} must be a plain value, not one with the YAML tag {tag!r}"))
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        value: object = self.yaml.constructor.construct_object(node)  # a scalar
        return value

    def mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else "a list or mapping"
            child = (*path, key)
            value = self.value(value_node, child)
            if key in found:
                line = key_node.start_mark.line + 1
                text = f"{path_text(child)} stands twice, again in line {line}; keep one"
                self.faults.append(Fault(child, text))
            else:
                found[key] = value
        return found


def plain(value: object) -> object:
    """Mappings as dicts with text keys and sequences as lists, so that a Python mapping reads like a file."""
    if isinstance(value, Mapping):
        return {str(key): plain(child) for key, child in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(child) for child in value]
    return value


def _refusal(source: str, text: str) -> HardwareError:
    return HardwareError(source, [Fault((), text)])
