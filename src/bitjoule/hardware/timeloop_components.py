"""Components of a Timeloop v0.4 architecture: its `subtree` and `local` lists as one chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitjoule.hardware.timeloop_document import Node
from bitjoule.hardware.timeloop_factors import instances_of

__all__ = ["FAN_OUT", "IGNORED", "STORES", "Component", "read_components", "split_arithmetic"]

STORES = ("DRAM", "smartbuffer_SRAM", "smartbuffer_RF", "storage")
FAN_OUT = "dummy_storage"

_ATTRIBUTES = {
    "width", "depth", "datawidth", "cluster_size", "read_bandwidth", "write_bandwidth", "meshX", "meshY",
    "multiple_buffering", "technology", "global_cycle_seconds", "multiplier_width",
}  # fmt: skip
IGNORED = {
    "has_power_gating", "power_gated_at", "n_banks", "nports", "num_ports", "update_fifo_depth",
    "reduction_supported", "min_utilization", "allow_overbooking", "required_actions", "enabled",
    "adder_width", "type", "subclass", "dumped_by_timeloop_front_end", "version",
}  # fmt: skip
_INHERITED = ("datawidth", "technology", "global_cycle_seconds")


@dataclass(frozen=True)
class Component:
    """One entry of a `local` list with what it inherits; `instances` over the whole chip."""

    name: str
    kind: str
    node: Node
    instances: int
    mesh: tuple[int, int]
    attributes: Mapping[str, Node]

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number >= 1 among the attributes; TimeloopError where it is missing or something else."""
        node = self.attributes.get(key)
        if node is not None:
            return node.whole()
        if default is None:
            raise self.node.fault(f"({self.name}) has no attribute {key!r}; it needs a whole number >= 1")
        return default

    @property
    def is_mac(self) -> bool:
        """Is it arithmetic, by its class?"""
        return "mac" in self.kind.lower() or self.kind == "compute"


def read_components(tree: Node, unknown: list[str]) -> list[Component]:
    """Entries of all `local` lists, outermost first; paths of keys that are not read go to `unknown`.

    Raises:
        TimeloopError: an unknown class, counts that do not agree, a name twice, a tree instead of a chain.
    """
    found: list[Component] = []
    node, factor, inherited = tree, 1, dict[str, Node]()
    while True:
        attributes = node.get("attributes")
        if attributes is not None:
            unknown += attributes.unknown(_ATTRIBUTES | IGNORED)
            inherited |= {key: child for key, child in attributes.entries() if key in _INHERITED}
        local = node.get("local")
        for entry in [] if local is None else local.items():
            found.append(_component(entry, factor, inherited, unknown))
        subtree = node.get("subtree")
        if subtree is None:
            break
        children = subtree.items()
        if len(children) != 1:
            raise subtree.fault(
                f"must hold one entry, not {len(children)}: a chain of levels is read, no tree"
            )
        node = children[0]
        unknown += node.unknown({"name", "attributes", "local", "subtree"} | IGNORED)
        factor *= instances_of(node.at("name"))[1]
    twice = sorted({c.name for c in found if [d.name for d in found].count(c.name) > 1})
    if twice:
        raise tree.fault(f"gives the name {', '.join(twice)} twice; levels are told apart by name")
    return found


def _component(entry: Node, factor: int, inherited: Mapping[str, Node], unknown: list[str]) -> Component:
    unknown += entry.unknown({"name", "class", "attributes"} | IGNORED)
    name, own = instances_of(entry.at("name"))
    kind = entry.at("class").text()
    attributes = dict(inherited)
    node = entry.get("attributes")
    if node is not None:
        unknown += node.unknown(_ATTRIBUTES | IGNORED)
        attributes |= {key: child for key, child in node.entries() if child.value is not None}
    component = Component(name, kind, entry, factor * own, (1, 1), attributes)
    if not component.is_mac and kind not in (*STORES, FAN_OUT):
        has = ", ".join((*STORES, FAN_OUT))
        raise entry.at("class").fault(f"must be {has}, compute or a name with 'mac', not {kind!r}")
    total = component.instances
    given_y = attributes.get("meshY")
    mesh_x = component.whole("meshX", total if given_y is None else max(1, total // given_y.whole()))
    mesh_y = component.whole("meshY", max(1, total // mesh_x))
    if mesh_x * mesh_y != total:
        raise entry.fault(
            f"({name}): meshX {mesh_x} times meshY {mesh_y} must be its {total} instances, "
            f"not {mesh_x * mesh_y}"
        )
    return Component(name, kind, entry, total, (mesh_x, mesh_y), attributes)


def split_arithmetic(tree: Node, components: list[Component]) -> tuple[list[Component], Component]:
    """Levels, outermost first, and the arithmetic, which must be the innermost and only one."""
    macs = [component for component in components if component.is_mac]
    if len(macs) != 1 or components[-1] is not macs[0]:
        names = ", ".join(component.name for component in macs) or "none"
        raise tree.fault(f"must end in one arithmetic component (class intmac or compute), not {names}")
    stores = components[:-1]
    if not stores or stores[0].kind == FAN_OUT:
        raise tree.fault("must begin with a memory that keeps all tensors (class DRAM or storage)")
    return stores, macs[0]
