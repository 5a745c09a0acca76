"""`architecture_constraints` of Timeloop v0.4: what a mapping may do at each level, in the words of our YAML.

A factor of 1 keeps a dimension from iterating there, 0 (the rest) and no factor leave it free, another number
is the only factor allowed. A permutation lists the innermost loops. `split`: dimensions before that position
of the permutation unroll along x, the others along y. Timeloop's M is our K, and our G where a problem is
depthwise: what M may do, both may; a fixed factor of M binds one of them, chosen by `depthwise`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bitjoule.hardware.timeloop_document import Node
from bitjoule.hardware.timeloop_factors import Factor, parse_factors, parse_permutation, parse_tensors

__all__ = ["DIMS", "TENSORS", "TIMELOOP_DIMS", "LevelRules", "read_constraints"]

DIMS = ("N", "G", "K", "C", "P", "Q", "R", "S")
TENSORS = ("weights", "inputs", "outputs")
TIMELOOP_DIMS = ("C", "M", "R", "S", "N", "P", "Q", "G")
"""Dimensions that constraints may name; G is there in shapes with groups only."""

_KEYS = {"target", "type", "factors", "permutation", "split", "keep", "bypass"}


@dataclass(frozen=True)
class LevelRules:
    """Rules of one level. `keep` and `bypass`: what must and must not be kept; other tensors are free."""

    keep: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()
    temporal_dims: tuple[str, ...] = DIMS
    temporal_order: tuple[str, ...] = ()
    fixed_temporal: Mapping[str, int] = field(default_factory=dict)
    max_temporal: Mapping[str, int] = field(default_factory=dict)
    x_dims: tuple[str, ...] = DIMS
    y_dims: tuple[str, ...] = DIMS
    fixed_spatial: Mapping[str, int] = field(default_factory=dict)


def read_constraints(
    node: Node, levels: Mapping[str, bool], *, depthwise: bool = False
) -> tuple[dict[str, LevelRules], list[str]]:
    """Rules per level, and the paths of keys that are not read. `levels`: name -> is it a memory.

    Raises:
        TimeloopError: an unknown target or type, a target and type twice, a dimension or tensor that does not
            exist, temporal factors on a pure fan-out.
    """
    unknown = node.unknown({"targets", "version"})
    found: dict[tuple[str, str], Node] = {}
    for entry in node.at("targets").items():
        unknown += entry.unknown(_KEYS)
        target, kind = entry.at("target").text(), entry.at("type").text()
        kind = "datatype" if kind == "bypass" else kind
        if kind not in ("temporal", "spatial", "datatype"):
            raise entry.at("type").fault(f"must be temporal, spatial, bypass or datatype, not {kind!r}")
        if target not in levels:
            raise entry.at("target").fault(f"names {target!r}, which is no level (has: {', '.join(levels)})")
        if (target, kind) in found:
            raise entry.fault(f"is the second {kind} entry of {target}; keep one")
        found[target, kind] = entry
    rules = {}
    for level, memory in levels.items():
        keys: dict[str, object] = {}
        if (level, "datatype") in found:
            keys |= _datatype(found[level, "datatype"], memory=memory)
        if (level, "temporal") in found:
            keys |= _temporal(found[level, "temporal"], memory=memory, depthwise=depthwise)
        if (level, "spatial") in found:
            keys |= _spatial(found[level, "spatial"], depthwise=depthwise)
        rules[level] = LevelRules(**keys)  # type: ignore[arg-type]
    return rules, unknown


def _datatype(entry: Node, *, memory: bool) -> dict[str, object]:
    keep, bypass = parse_tensors(entry.get("keep")), parse_tensors(entry.get("bypass"))
    both = [tensor for tensor in keep if tensor in bypass]
    if both:
        raise entry.fault(f"keeps and bypasses {', '.join(both)}")
    if keep and not memory:
        raise entry.at("keep").fault("must be empty: a dummy_storage is a pure fan-out")
    return {"keep": keep, "bypass": bypass}


def _temporal(entry: Node, *, memory: bool, depthwise: bool) -> dict[str, object]:
    factors = _factors(entry)
    if not memory:
        iterating = [factor.dim for factor in factors.values() if factor.value > 1]
        if iterating:
            raise entry.at("factors").fault(
                f"must be 1 on a dummy_storage, a pure fan-out without loops in time, not more for "
                f"{', '.join(iterating)}"
            )
        return {}
    listed = _permutation(entry)
    grouped = "G" in factors or "G" in listed
    allowed = _allowed(factors, grouped)
    order = [dim for dim in listed if dim in allowed]
    greatest = {
        dim: factor.value
        for factor in factors.values()
        if factor.relation == "<=" and factor.value > 1
        for dim in _ours([factor.dim], grouped)
    }
    return {
        "temporal_dims": _sorted(_ours(allowed, grouped)),
        "temporal_order": _ours(order, grouped) if len(allowed) > 1 else (),
        "fixed_temporal": _fixed(factors, depthwise),
        "max_temporal": greatest,
    }


def _spatial(entry: Node, *, depthwise: bool) -> dict[str, object]:
    factors = _factors(entry)
    for factor in factors.values():
        if factor.relation == "<=" and factor.value > 1:
            raise entry.at("factors").fault(f"must be exact in a fan-out, not {factor.dim}<={factor.value}")
    listed = _permutation(entry)
    grouped = "G" in factors or "G" in listed
    allowed = _allowed(factors, grouped)
    split = entry.get("split")
    at = None if split is None else split.whole(0)
    return {
        "x_dims": _sorted(_ours([d for d in allowed if "x" in _sides(d, listed, at)], grouped)),
        "y_dims": _sorted(_ours([d for d in allowed if "y" in _sides(d, listed, at)], grouped)),
        "fixed_spatial": _fixed(factors, depthwise),
    }


def _sides(dim: str, listed: tuple[str, ...], split: int | None) -> str:
    """Axes along which a dimension may unroll; those that the permutation leaves out come after it."""
    if split is None:
        return "xy"
    if dim in listed:
        return "x" if listed.index(dim) < split else "y"
    if split <= len(listed):
        return "y"
    return "x" if split >= len(TIMELOOP_DIMS) - 1 else "xy"


def _ours(dims: Iterable[str], grouped: bool) -> tuple[str, ...]:
    """Our dimensions for Timeloop's, in the order given; M is K, and G too unless G has its own name."""
    spread = {"M": ("K",) if grouped else ("K", "G")}
    return tuple(ours for dim in dims for ours in spread.get(dim, (dim,)))


def _fixed(factors: Mapping[str, Factor], depthwise: bool) -> dict[str, int]:
    names = {"M": "G" if depthwise else "K"}
    return {
        names.get(factor.dim, factor.dim): factor.value
        for factor in factors.values()
        if factor.relation == "=" and factor.value > 1
    }


def _factors(entry: Node) -> dict[str, Factor]:
    node = entry.get("factors")
    factors = {} if node is None else {factor.dim: factor for factor in parse_factors(node)}
    for dim in factors:
        if dim not in TIMELOOP_DIMS:
            has = ", ".join(TIMELOOP_DIMS)
            raise entry.at("factors").fault(f"names {dim!r}, which is no dimension (has: {has})")
    return factors


def _permutation(entry: Node) -> tuple[str, ...]:
    node = entry.get("permutation")
    return () if node is None else parse_permutation(node, TIMELOOP_DIMS)


def _allowed(factors: Mapping[str, Factor], grouped: bool) -> list[str]:
    """Timeloop dimensions that may have a bound above 1."""
    names = TIMELOOP_DIMS if grouped else TIMELOOP_DIMS[:-1]
    return [dim for dim in names if dim not in factors or factors[dim].value != 1]


def _sorted(dims: Iterable[str]) -> tuple[str, ...]:
    among = set(dims)
    return tuple(dim for dim in DIMS if dim in among)
