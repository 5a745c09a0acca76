"""A Mapping: where every loop of a layer runs and which tensors every level keeps.

Levels innermost first; at each level temporal loops and spatial loops (the fan-out to the level below, inside
the temporal ones), innermost first. Documents have the schema `bitjoule.mapping/1` (mapping.md section 1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

__all__ = ["SCHEMA", "LevelNest", "Loop", "Mapping", "MappingError"]

SCHEMA = "bitjoule.mapping/1"

Loop = tuple[str, int]
"""(dimension, bound)."""

Canonical = tuple[tuple[str, tuple[int, ...], tuple[tuple[tuple[int, int], ...], ...]], ...]


class MappingError(ValueError):
    """A Mapping that cannot be counted: `faults` in the order of the levels."""

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{subject}: " + "; ".join(faults))


@dataclass(frozen=True)
class LevelNest:
    """Loops of one level, innermost first, and the tensors it keeps (in the order of TENSORS)."""

    name: str
    keeps: tuple[str, ...]
    temporal: tuple[Loop, ...] = ()
    x: tuple[Loop, ...] = ()
    y: tuple[Loop, ...] = ()

    @property
    def spatial(self) -> tuple[Loop, ...]:
        """Loops of both fan-out axes, x inside y."""
        return (*self.x, *self.y)


@dataclass(frozen=True)
class Mapping:
    """A whole loop nest, innermost level first.

    >>> Mapping((LevelNest("dram", ("weights", "inputs", "outputs"), (("K", 4),)),)).bounds
    (1, 1, 4, 1, 1, 1, 1, 1)
    """

    levels: tuple[LevelNest, ...]

    @property
    def bounds(self) -> tuple[int, ...]:
        """Product of all bounds per dimension, in the order of DIMS; KeyError for an unknown dimension."""
        product = dict.fromkeys(DIMS, 1)
        for level in self.levels:
            for loops in (level.temporal, level.x, level.y):
                for dim, bound in loops:
                    product[dim] *= bound
        return tuple(product.values())

    @property
    def canonical(self) -> Canonical:
        """A sortable tuple that is equal for equal nests: loops of bound 1 left out, dimensions by number.

        Per level (name, numbers of the kept tensors, (temporal, x, y) loops as (number of the dim, bound)).
        """
        return tuple(
            (
                level.name,
                tuple(TENSORS.index(tensor) for tensor in TENSORS if tensor in level.keeps),
                tuple(
                    tuple((DIMS.index(dim), bound) for dim, bound in loops if bound > 1)
                    for loops in (level.temporal, level.x, level.y)
                ),
            )
            for level in self.levels
        )

    @property
    def hash(self) -> str:
        """`sha256:...` of the canonical tuple."""
        text = json.dumps(self.canonical, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def check(self, problem: Problem, accelerator: Accelerator) -> None:
        """Refuse a mapping that is not one of `problem` on `accelerator`.

        A level may bypass any tensor here, but the outermost of the levels that can keep a tensor keeps it.
        Sizes and fan-outs are no matter of this check: `counts` reports them as violations.

        Raises:
            MappingError: levels of other names, unknown dimensions or tensors, bounds < 1, a tensor kept
                where the hardware does not keep it, or loop products that are not the layer's bounds.
        """
        subject = f"mapping of layer {problem.name!r} on {accelerator.name}"
        faults = _faults(self.levels)
        names = [level.name for level in self.levels]
        expected = [level.name for level in accelerator.levels]
        if names != expected and not faults:
            faults.append(
                f"it is of another hardware: its levels are {', '.join(names)}, those of {accelerator.name} "
                f"{', '.join(expected)} (innermost first)"
            )
        if faults:
            raise MappingError(subject, faults)
        homes = {tensor: level.name for level in accelerator.levels for tensor in level.keeps}
        for nest, level in zip(self.levels, accelerator.levels, strict=True):
            if foreign := [tensor for tensor in nest.keeps if tensor not in level.keeps]:
                faults.append(
                    f"level {nest.name!r} cannot keep {', '.join(foreign)} "
                    f"(it keeps {', '.join(level.keeps) or 'nothing'})"
                )
            left = [t for t in TENSORS if homes[t] == nest.name and t not in nest.keeps]
            if left:
                faults.append(
                    f"level {nest.name!r} must keep {', '.join(left)}: no level outside it keeps them"
                )
        bounds = self.bounds
        if bounds != problem.bounds:
            differ = [
                f"{dim} is {have}, the layer has {want}"
                for dim, have, want in zip(DIMS, bounds, problem.bounds, strict=True)
                if have != want
            ]
            faults.append("loop products do not match the layer: " + ", ".join(differ))
        if faults:
            raise MappingError(subject, faults)

    def to_json(self) -> dict[str, object]:
        """Plain JSON of schema `bitjoule.mapping/1`; `from_json` reads it back exactly."""
        return {
            "schema": SCHEMA,
            "levels": [
                {
                    "name": level.name,
                    "keeps": list(level.keeps),
                    "temporal": [list(loop) for loop in level.temporal],
                    "spatial": {"x": [list(loop) for loop in level.x], "y": [list(loop) for loop in level.y]},
                }
                for level in self.levels
            ],
        }

    @classmethod
    def from_json(cls, document: object) -> Mapping:
        """The Mapping of a document that `to_json` wrote.

        Raises:
            MappingError: another schema, keys missing or unknown, or values of the wrong kind; all at once.
        """
        if not isinstance(document, AnyMapping) or document.get("schema") != SCHEMA:
            given = document.get("schema") if isinstance(document, AnyMapping) else type(document).__name__
            raise MappingError("mapping", [f"schema must be {SCHEMA!r}, not {given!r}"])
        faults = [f"{key} is not a key (keys: schema, levels)" for key in document if key not in _TOP]
        entries = document.get("levels")
        if not isinstance(entries, list) or not entries:
            faults.append(f"levels must be a list of at least one level, not {entries!r}")
            entries = []
        levels = tuple(_level(f"levels[{index}]", entry, faults) for index, entry in enumerate(entries))
        if not faults:
            faults = _faults(levels)
        if faults:
            raise MappingError("mapping", faults)
        return cls(levels)


_TOP = ("schema", "levels")
_KEYS = ("name", "keeps", "temporal", "spatial")


def _faults(levels: tuple[LevelNest, ...]) -> list[str]:
    """What is wrong with the levels whatever the layer and the hardware."""
    names = [level.name for level in levels]
    faults = [f"level {name!r} stands {names.count(name)} times" for name in dict.fromkeys(names)
              if names.count(name) > 1]  # fmt: skip
    for level in levels:
        faults += [
            f"level {level.name!r} keeps {tensor!r}, which is no tensor (tensors: {', '.join(TENSORS)})"
            for tensor in level.keeps
            if tensor not in TENSORS
        ]
        if len(set(level.keeps)) != len(level.keeps):
            faults.append(f"level {level.name!r} names a tensor twice: {', '.join(level.keeps)}")
        for loops in (level.temporal, level.x, level.y):
            for dim, bound in loops:
                if dim not in DIMS:
                    faults.append(f"level {level.name!r} loops over {dim!r}; dimensions are {' '.join(DIMS)}")
                if type(bound) is not int or bound < 1:
                    faults.append(
                        f"level {level.name!r}: the bound of {dim} must be a whole number >= 1, not {bound!r}"
                    )
    return faults


def _level(where: str, entry: object, faults: list[str]) -> LevelNest:
    if not isinstance(entry, AnyMapping):
        faults.append(f"{where} must be a mapping with the keys {', '.join(_KEYS)}, not {entry!r}")
        return LevelNest("", ())
    faults += [f"{where}.{key} is not a key (keys: {', '.join(_KEYS)})" for key in entry if key not in _KEYS]
    name, keeps, spatial = entry.get("name"), entry.get("keeps"), entry.get("spatial", {})
    if not isinstance(name, str) or not name:
        faults.append(f"{where}.name must be a text, not {name!r}")
    if not isinstance(keeps, list) or not all(isinstance(tensor, str) for tensor in keeps):
        faults.append(f"{where}.keeps must be a list of tensors, not {keeps!r}")
        keeps = []
    if not isinstance(spatial, AnyMapping) or not set(spatial) <= {"x", "y"}:
        faults.append(f"{where}.spatial must have the keys x and y, not {spatial!r}")
        spatial = {}
    return LevelNest(
        str(name),
        tuple(keeps),
        _loops(f"{where}.temporal", entry.get("temporal", []), faults),
        _loops(f"{where}.spatial.x", spatial.get("x", []), faults),
        _loops(f"{where}.spatial.y", spatial.get("y", []), faults),
    )


def _loops(where: str, value: object, faults: list[str]) -> tuple[Loop, ...]:
    if not isinstance(value, list) or not all(
        isinstance(loop, list) and len(loop) == 2 and isinstance(loop[0], str) for loop in value
    ):
        faults.append(f"{where} must be a list of [dimension, bound], not {value!r}")
        return ()
    return tuple((loop[0], loop[1]) for loop in value)
