"""Timeloop's short texts: factors ("C=1,M=4" or "C1 M4"), permutations ("MCRSNPQ"), names ("pe[0..13]")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bitjoule.hardware.timeloop_document import Node

__all__ = ["Factor", "instances_of", "parse_factors", "parse_permutation", "parse_tensors"]

_FACTOR = re.compile(r"([A-Za-z_][A-Za-z_0-9]*?)(<=|>=|=)?(\d+)")
_NAME = re.compile(r"([A-Za-z_][\w\-]*)(?:\[\s*(\d+)\s*\.\.\s*(\d+)\s*\])?")
_TENSORS = ("weights", "inputs", "outputs")


@dataclass(frozen=True)
class Factor:
    """One factor of a dimension: `relation` is "=" or "<="."""

    dim: str
    relation: str
    value: int


def parse_factors(node: Node) -> tuple[Factor, ...]:
    """Factors of a text or of a list of texts, in file order.

    Raises:
        TimeloopError: something else than dimension and whole number (`P4,3`, a residue, among them), or a
            dimension twice.

    >>> [(f.dim, f.value) for f in parse_factors(Node("C=1,M=4", "x.yaml"))]
    [('C', 1), ('M', 4)]
    """
    texts = [item.text() for item in node.items()] if isinstance(node.value, list) else [node.text()]
    found: list[Factor] = []
    for text in texts:
        tight = re.sub(r"\s*(<=|>=|=|,)\s*", r"\1", text.strip())
        for word in re.split(r"\s+|,(?=[A-Za-z_])", tight):
            match = _FACTOR.fullmatch(word)
            if match is None or match[2] == ">=":
                hint = "; residues and lower bounds are not read" if "," in word or ">" in word else ""
                raise node.fault(f"must be factors such as 'C=1,M=4' or 'C1 M4', not {word!r}{hint}")
            found.append(Factor(match[1], match[2] or "=", int(match[3])))
    _once(node, [factor.dim for factor in found])
    return tuple(found)


def parse_permutation(node: Node, dims: Iterable[str]) -> tuple[str, ...]:
    """Dimensions innermost first, of "MCRSNPQ", "M, C, R" or a list.

    Raises:
        TimeloopError: a name that is not among `dims`, or a name twice.
    """
    known = tuple(dims)
    if isinstance(node.value, list):
        names = [item.text() for item in node.items()]
    else:
        text = node.text().strip()
        names = re.split(r"[\s,]+", text) if re.search(r"[\s,]", text) or text in known else list(text)
    for name in names:
        if name not in known:
            raise node.fault(f"names {name!r}, which is no dimension (has: {', '.join(known)})")
    _once(node, names)
    return tuple(names)


def parse_tensors(node: Node | None) -> tuple[str, ...]:
    """Tensors of a `keep` or `bypass` list, as we call them; of no list: none.

    Raises:
        TimeloopError: a name other than Weights, Inputs, Outputs, or one twice.
    """
    if node is None:
        return ()
    names = []
    for item in node.items():
        name = item.text().lower()
        if name not in _TENSORS:
            raise item.fault(f"must be Weights, Inputs or Outputs, not {item.value!r}")
        names.append(name)
    _once(node, names)
    return tuple(names)


def instances_of(node: Node) -> tuple[str, int]:
    """Name and number of instances of "name[a..b]"; one where there are no brackets.

    >>> instances_of(Node("pe[0..13]", "x.yaml"))
    ('pe', 14)
    """
    match = _NAME.fullmatch(node.text().strip())
    if match is None:
        raise node.fault(f"must be a name, or name[a..b] for b - a + 1 instances, not {node.value!r}")
    if match[2] is None:
        return match[1], 1
    first, last = int(match[2]), int(match[3])
    if last < first:
        raise node.fault(f"must count upwards, not {node.value!r}")
    return match[1], last - first + 1


def _once(node: Node, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise node.fault(f"names {', '.join(twice)} twice")
