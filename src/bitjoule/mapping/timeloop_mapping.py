"""Timeloop v0.4 mappings, read and written (mapping.md section 5).

A Timeloop mapping is a list of entries, each with a target level and a type: `datatype` says what the level
keeps, `temporal` and `spatial` give factors and a permutation, innermost first; `split` parts the spatial
permutation into loops along x (before that position) and along y.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from pathlib import Path

from bitjoule.hardware.timeloop_document import Node, read_yaml
from bitjoule.hardware.timeloop_factors import parse_factors, parse_permutation, parse_tensors
from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.nest import LevelNest, Loop, Mapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from bitjoule.mapping.timeloop_problem import TimeloopProblem

__all__ = ["TIMELOOP_DIMS", "mapping_of_entries", "read_mapping", "to_timeloop"]

TIMELOOP_DIMS = ("C", "M", "R", "S", "N", "P", "Q")
"""Timeloop's dimensions of a convolution, in the order of its example files."""

_KEYS = {"target", "type", "factors", "permutation", "split", "keep", "bypass"}
_PLAIN = re.compile(r"[A-Za-z_][\w\-]*")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}


def read_mapping(path: Path | str, problem: TimeloopProblem, accelerator: Accelerator) -> Mapping:
    """The mapping in a YAML file: a list, or a document with the list under `mapping`.

    Raises:
        TimeloopError: unknown targets, types, dimensions or keys, loops without an order, or factors whose
            products are not the problem's bounds; the text names file and key.
    """
    top = read_yaml(path)
    return mapping_of_entries(top if isinstance(top.value, list) else top.at("mapping"), problem, accelerator)


def mapping_of_entries(entries: Node, problem: TimeloopProblem, accelerator: Accelerator) -> Mapping:
    """The mapping of a list of entries; see `read_mapping`."""
    found: dict[tuple[str, str], Node] = {}
    names = [level.name for level in accelerator.levels]
    for entry in entries.items():
        unknown = entry.unknown(_KEYS)
        if unknown:
            raise entry.fault(
                f"has keys that are not read: {', '.join(unknown)} (has: {', '.join(sorted(_KEYS))})"
            )
        target, kind = entry.at("target").text(), entry.at("type").text()
        kind = "datatype" if kind == "bypass" else kind
        if kind not in ("temporal", "spatial", "datatype"):
            raise entry.at("type").fault(f"must be temporal, spatial or datatype, not {kind!r}")
        if target not in names:
            has = ", ".join(reversed(names))
            raise entry.at("target").fault(
                f"names {target!r}, which is no level (has, outermost first: {has})"
            )
        if (target, kind) in found:
            raise entry.fault(f"is the second {kind} entry of {target}; keep one")
        found[target, kind] = entry
    read = {key: _loops(entry, problem) for key, entry in found.items() if key[1] != "datatype"}
    _check_products(entries, problem, read)
    levels = []
    for level in accelerator.levels:
        spatial, split = read.get((level.name, "spatial"), ((), 0))
        temporal, _ = read.get((level.name, "temporal"), ((), 0))
        levels.append(
            LevelNest(
                level.name,
                _keeps(found.get((level.name, "datatype")), level),
                _ours(temporal, problem),
                _ours(spatial[:split], problem),
                _ours(spatial[split:], problem),
            )
        )
    return Mapping(tuple(levels))


def _loops(entry: Node, problem: TimeloopProblem) -> tuple[tuple[Loop, ...], int]:
    """All listed loops innermost first, in Timeloop's dimensions, and how many of them are along x."""
    dims = problem.dims
    factors: dict[str, int] = {}
    node = entry.get("factors")
    for factor in () if node is None else parse_factors(node):
        at = entry.at("factors")
        if factor.dim not in dims:
            raise at.fault(
                f"names {factor.dim!r}, which is no dimension of the problem (has: {', '.join(dims)})"
            )
        if factor.relation != "=" or factor.value < 1:
            raise at.fault(f"must be exact factors >= 1 in a mapping, not {factor.dim} {factor.value}")
        factors[factor.dim] = factor.value
    order_node = entry.get("permutation")
    order = () if order_node is None else parse_permutation(order_node, dims)
    left_out = [dim for dim, value in factors.items() if value > 1 and dim not in order]
    if left_out and (order_node is not None or len(left_out) > 1):
        raise entry.fault(f"has no permutation that places {', '.join(left_out)}; loops need an order")
    order = (*order, *left_out)
    split = entry.get("split")
    along_x = len(order) if split is None else min(split.whole(0), len(order))
    return tuple((dim, factors.get(dim, 1)) for dim in order), along_x


def _check_products(
    entries: Node, problem: TimeloopProblem, read: AnyMapping[tuple[str, str], tuple[tuple[Loop, ...], int]]
) -> None:
    """Products of the factors against the bounds; several Timeloop dimensions may be one of ours."""
    products = dict.fromkeys(problem.dims, 1)
    for loops, _ in read.values():
        for dim, bound in loops:
            products[dim] *= bound
    differ = [
        f"{dim} is {product}, the problem has {bound}"
        for dim, product in products.items()
        if (bound := problem.bounds[dim]) != product
    ]
    if differ:
        raise entries.fault(f"does not fit problem {problem.problem.name!r}: {'; '.join(differ)}")


def _ours(loops: Sequence[Loop], problem: TimeloopProblem) -> tuple[Loop, ...]:
    """Loops of bound > 1 in our dimensions."""
    ours = [(problem.dims[dim], bound) for dim, bound in loops if bound > 1]
    return tuple((dim, bound) for dim, bound in ours if dim is not None)


def _keeps(entry: Node | None, level: StorageLevel) -> tuple[str, ...]:
    """What a level keeps: all that it can, less `bypass`; more than it can is an error."""
    if entry is None:
        return level.keeps
    keep, bypass = parse_tensors(entry.get("keep")), parse_tensors(entry.get("bypass"))
    both = [tensor for tensor in keep if tensor in bypass]
    if both:
        raise entry.fault(f"keeps and bypasses {', '.join(both)} at {level.name}")
    foreign = [tensor for tensor in keep if tensor not in level.keeps]
    if foreign:
        can = ", ".join(level.keeps) or "nothing, it is a pure fan-out"
        raise entry.at("keep").fault(
            f"names {', '.join(foreign)}, which {level.name} cannot keep (it keeps {can})"
        )
    return tuple(tensor for tensor in level.keeps if tensor not in bypass)


def to_timeloop(mapping: Mapping, accelerator: Accelerator, problem: Problem | None = None) -> str:
    """The mapping as Timeloop v0.4 YAML, innermost level first.

    K is written as M. Groups are written as M too where the layer is depthwise (K = C = 1), for a problem
    whose M indexes all three data spaces; otherwise as G. With a `problem` the mapping is checked against it.

    Raises:
        MappingError: the mapping is not one of the problem on the accelerator.
        ValueError: levels of another hardware, or what Timeloop cannot say: a dimension on x and on y of one
            level, or twice at one level with another loop between.
    """
    if problem is not None:
        mapping.check(problem, accelerator)
    names_here = [level.name for level in accelerator.levels]
    if [nest.name for nest in mapping.levels] != names_here:
        raise ValueError(
            f"the mapping is of another hardware: its levels are "
            f"{', '.join(nest.name for nest in mapping.levels)}, those of {accelerator.name} "
            f"{', '.join(names_here)} (innermost first)"
        )
    bounds = dict(zip(DIMS, mapping.bounds, strict=True))
    depthwise = bounds["G"] > 1 and bounds["K"] == bounds["C"] == 1
    names = {dim: dim for dim in DIMS} | ({"G": "M", "K": "K"} if depthwise else {"K": "M"})
    dims = TIMELOOP_DIMS if depthwise or bounds["G"] == 1 else (*TIMELOOP_DIMS, "G")
    lines = ["mapping:"]
    for nest, level in zip(mapping.levels, accelerator.levels, strict=True):
        keep = _tensor_list(nest.keeps)
        bypass = _tensor_list(tensor for tensor in TENSORS if tensor not in nest.keeps)
        lines.append(f"- {{target: {_name(level.name)}, type: datatype, keep: {keep}, bypass: {bypass}}}")
    for nest, level in zip(mapping.levels, accelerator.levels, strict=True):
        x, y = (_merged(loops, names, level.name) for loops in (nest.x, nest.y))
        both = [dim for dim, _ in x if dim in dict(y)]
        if both:
            raise ValueError(
                f"{level.name} unrolls {', '.join(both)} on x and on y, and a Timeloop mapping gives a level "
                "one factor per dimension; describe the fan-out as two levels, one per axis"
            )
        if level.fanout > 1 or x or y:
            entry = _entry(level.name, "spatial", (*x, *y), dims)
            lines.append(f"- {{{entry}, split: {len(x)}}}")
        if level.keeps or nest.temporal:
            loops = _merged(nest.temporal, names, level.name)
            lines.append(f"- {{{_entry(level.name, 'temporal', loops, dims)}}}")
    return "\n".join(lines) + "\n"


def _merged(loops: Sequence[Loop], names: AnyMapping[str, str], level: str) -> list[Loop]:
    """Loops above 1 in Timeloop's dimensions; neighbours over the same dimension become one."""
    found: list[Loop] = []
    for dim, bound in loops:
        if bound == 1:
            continue
        if found and found[-1][0] == names[dim]:
            found[-1] = (names[dim], found[-1][1] * bound)
        elif names[dim] in dict(found):
            raise ValueError(
                f"{level} has two loops over {dim} with another between them, and a Timeloop mapping gives a "
                "level one factor per dimension"
            )
        else:
            found.append((names[dim], bound))
    return found


def _entry(level: str, kind: str, loops: Sequence[Loop], dims: tuple[str, ...]) -> str:
    bounds = dict(loops)
    order = [*bounds, *(dim for dim in dims if dim not in bounds)]
    factors = " ".join(f"{dim}{bounds.get(dim, 1)}" for dim in dims)
    return f"target: {_name(level)}, type: {kind}, factors: {factors}, permutation: {''.join(order)}"


def _tensor_list(tensors: object) -> str:
    return "[" + ", ".join(tensor.capitalize() for tensor in tensors) + "]"  # type: ignore[attr-defined]


def _name(text: str) -> str:
    """A level's name, in quotes where YAML would read something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED else json.dumps(text)
