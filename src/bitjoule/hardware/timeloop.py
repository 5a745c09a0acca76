"""Timeloop v0.4 architectures as hardware of kind `hierarchy` (mapping.md section 5).

A file's `subtree` and `local` lists, outermost first, with the prices of its energy reference table (ERT),
the areas of its area reference table (ART) and its constraints, become a document for `hardware.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from bitjoule.hardware.timeloop_components import (
    FAN_OUT,
    IGNORED,
    Component,
    read_components,
    split_arithmetic,
)
from bitjoule.hardware.timeloop_constraints import TENSORS, LevelRules, read_constraints
from bitjoule.hardware.timeloop_document import Node, read_yaml
from bitjoule.hardware.timeloop_tables import EnergyTable, read_areas, read_energies

__all__ = ["TimeloopHardware", "read_timeloop"]


@dataclass(frozen=True)
class TimeloopHardware:
    """What the files say. `document`: for `hardware.load`. `notes`: keys that were not read, one line a file.

    `areas_um2`: all instances of each component, from the ART, reported and not used. `priced`: whether an
    ERT gave energies; without one the document holds place-holders (memories 0 pJ, a MAC 1 pJ), and only
    counts and cycles mean something.
    """

    document: Mapping[str, object]
    notes: tuple[str, ...] = ()
    areas_um2: Mapping[str, float] = field(default_factory=dict)
    priced: bool = True


def read_timeloop(
    architecture: FilePath | str,
    ert: FilePath | str | None = None,
    art: FilePath | str | None = None,
    *,
    constraints: bool = True,
    depthwise: bool = False,
    name: str | None = None,
) -> TimeloopHardware:
    """The hardware of an architecture file, with prices where an ERT is given.

    `constraints`: read `architecture_constraints` (they bound a search; a given mapping does not obey them).
    `depthwise`: fixed factors of M bind G, not K. `name`: of the hardware, default the file's name.

    Raises:
        TimeloopError: what cannot be read, with file and key path; a level without a price, with the ERT.
    """
    top = read_yaml(architecture)
    tree = top.at("architecture")
    version = tree.get("version")
    if version is None or str(version.value) != "0.4":
        found = "nothing" if version is None else repr(version.value)
        raise tree.child("version", None).fault(f"must be '0.4', the version that is read, not {found}")
    unknown = top.unknown({"architecture", "architecture_constraints"} | IGNORED)
    unknown += tree.unknown({"version", "subtree", "local", "name", "attributes"} | IGNORED)
    components = read_components(tree, unknown)
    stores, mac = split_arithmetic(tree, components)
    rules = _rules(top, stores, unknown, constraints=constraints, depthwise=depthwise)
    table = None if ert is None else read_energies(ert)
    source = FilePath(architecture).name
    tables = "no energy reference table" if ert is None else f"prices of {FilePath(ert).name}"
    document: dict[str, object] = {
        "schema": "bitjoule.hardware/1",
        "name": name or source.partition(".")[0],
        "kind": "hierarchy",
        "provenance": {"timeloop": {"status": "derived", "cite": f"Timeloop v0.4 {source}, {tables}"}},
        "mac": {
            "count": mac.instances,
            "anchor_pj": 1.0 if table is None else table.price(mac.name, "compute"),
            "relative": "constant",
            **_native_bits(mac),
            "source": "timeloop",
        },
        "psum_bits": "auto",
        "packing": "floor",
        "levels": [
            _level(component, inner, rules.get(component.name, LevelRules()), table, outermost=index == 0)
            for index, (component, inner) in enumerate(zip(stores, [*stores[1:], mac], strict=True))
        ],
        "allow_unusual": True,
    }
    notes = [f"{architecture}: not read: {', '.join(unknown)}"] if unknown else []
    areas = {} if art is None else read_areas(art)
    counts = {component.name: component.instances for component in components}
    return TimeloopHardware(
        document,
        (*notes, *(table.notes if table else ())),
        {name: areas[name] * count for name, count in counts.items() if name in areas},
        priced=table is not None,
    )


def _rules(
    top: Node, stores: list[Component], unknown: list[str], *, constraints: bool, depthwise: bool
) -> dict[str, LevelRules]:
    node = top.get("architecture_constraints")
    if node is None or not constraints:
        return {}
    levels = {component.name: component.kind != FAN_OUT for component in stores}
    rules, more = read_constraints(node, levels, depthwise=depthwise)
    unknown += more
    if rules[stores[0].name].bypass:
        raise node.fault(f"bypasses tensors at {stores[0].name}, the outermost level, which must keep all")
    return rules


def _level(
    component: Component, inner: Component, rules: LevelRules, table: EnergyTable | None, *, outermost: bool
) -> dict[str, object]:
    """One entry of `levels`."""
    keeps = tuple(t for t in TENSORS if t not in rules.bypass) if component.kind != FAN_OUT else ()
    level: dict[str, object] = {"name": component.name, "keeps": list(keeps)}
    if keeps:
        free = () if outermost else tuple(t for t in keeps if t not in rules.keep)
        level |= _memory(component) | _prices(component.name, table)
        level |= {"bypass_allowed": list(free)} if free else {}
        if component.mesh != (1, 1) and outermost:
            raise component.node.fault(
                f"({component.name}) is the outermost level and must have one instance"
            )
        level |= _loops(rules)
        level["source"] = "timeloop"
    fanout = _fanout(component, inner, rules)
    if fanout:
        level["fanout"] = fanout
        if rules.fixed_spatial:
            level["fixed_spatial"] = dict(rules.fixed_spatial)
    return level


def _native_bits(mac: Component) -> dict[str, object]:
    """Operand width of the multiplier, where the file gives one."""
    return {"native_bits": mac.whole("multiplier_width")} if "multiplier_width" in mac.attributes else {}


def _memory(component: Component) -> dict[str, object]:
    cluster = component.whole("cluster_size", 1)
    width, word = component.whole("width"), component.whole("datawidth")
    if width % (word * cluster):
        raise component.node.fault(
            f"({component.name}): width {width} must be a multiple of datawidth {word} times "
            f"cluster_size {cluster}"
        )
    size: object = "unbounded"
    if "depth" in component.attributes:
        size = component.whole("depth") * (width // cluster)
    memory: dict[str, object] = {"size_bits": size, "word_bits": word, "width_bits": width}
    if cluster > 1:
        memory["cluster"] = cluster
    buffering = component.whole("multiple_buffering", 1)
    if buffering > 1:
        memory["multiple_buffering"] = buffering
    for ours, theirs in (
        ("read_words_per_cycle", "read_bandwidth"),
        ("write_words_per_cycle", "write_bandwidth"),
    ):
        if theirs in component.attributes:
            memory[ours] = component.attributes[theirs].number()
    return memory


def _prices(name: str, table: EnergyTable | None) -> dict[str, object]:
    if table is None:
        return {"read_pj": 0.0, "write_pj": 0.0}
    prices: dict[str, object] = {f"{action}_pj": table.price(name, action) for action in ("read", "write")}
    actions = table.prices[name]
    if "update" in actions:
        prices["update_pj"] = actions["update"]
    if actions.get("leak"):
        prices["leak_pj_per_cycle"] = actions["leak"]
    return prices


def _loops(rules: LevelRules) -> dict[str, object]:
    loops: dict[str, object] = {}
    if rules.temporal_dims != LevelRules().temporal_dims:
        loops["temporal_dims"] = list(rules.temporal_dims)
    if rules.temporal_order:
        loops["temporal_order"] = list(rules.temporal_order)
    if rules.fixed_temporal:
        loops["fixed_temporal"] = dict(rules.fixed_temporal)
    if rules.max_temporal:
        loops["max_temporal"] = dict(rules.max_temporal)
    return loops


def _fanout(component: Component, inner: Component, rules: LevelRules) -> dict[str, object]:
    """Instances of the next level per own one, along x and y by the ratio of the meshes."""
    ratios = [divmod(below, own) for below, own in zip(inner.mesh, component.mesh, strict=True)]
    if any(rest or not size for size, rest in ratios):
        raise inner.node.fault(
            f"({inner.name}): its mesh {inner.mesh[0]} x {inner.mesh[1]} must be a multiple of that of "
            f"{component.name} outside it, {component.mesh[0]} x {component.mesh[1]}"
        )
    fanout: dict[str, object] = {}
    for axis, (size, _), dims in zip("xy", ratios, (rules.x_dims, rules.y_dims), strict=True):
        if size > 1:
            fanout[axis] = {"size": size, "dims": list(dims)}
    return fanout
