"""What can be wrong between the keys of a hardware of kind `hierarchy`; the document may be broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bitjoule.hardware.fault import Fault, Path, is_number, path_text, value_at
from bitjoule.hardware.hierarchy import FANOUT_KEYS, TENSORS, LevelSection

__all__ = ["hierarchy_faults"]

BEHIND = ""
"""No key: a fault between two levels stands behind the keys of the second."""


def hierarchy_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """Faults of `mac`, `levels` and `ops` that no single key shows."""
    levels = document.get("levels")
    entries = (
        [entry if isinstance(entry, dict) else {} for entry in levels] if isinstance(levels, list) else []
    )
    for index, entry in enumerate(entries):
        path: Path = ("levels", index)
        yield from (
            _fanout_only_faults(entry, path) if entry.get("keeps") == [] else _store_faults(entry, path)
        )
        yield from _list_faults(entry, path)
        yield from _factor_faults(entry, path)
        yield from _place_faults(entry, path, outermost=index == 0)
    if entries:
        yield from _stack_faults(entries)
        yield from _count_faults(document, entries)
    yield from _mac_and_ops_faults(document)


def _fanout_only_faults(entry: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for key in entry:
        if key in LevelSection.model_fields and key not in FANOUT_KEYS:
            at = path_text((*path, key))
            text = f"{at} is not a key of a pure fan-out (keeps: []); it takes {', '.join(FANOUT_KEYS)}"
            yield Fault((*path, key), text)


def _store_faults(entry: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Sizes and prices of one memory."""
    if not entry:
        return
    mends = {
        "size_bits": "the bits of one instance, or unbounded",
        "word_bits": "the bits of one word",
        "width_bits": "the bits of one access",
        "source": "it names the entry of provenance that this section's numbers come from",
    }
    for key, mend in mends.items():
        if entry.get(key) is None:
            yield Fault((*path, key), f"{path_text((*path, key))} is missing; {mend}")
    for key in ("read_pj", "write_pj"):
        given = [name for name in (key, f"{key}_per_bit") if entry.get(name) is not None]
        if not given:
            text = f"{path_text((*path, key))} is missing; give {key} or {key}_per_bit"
            yield Fault((*path, key), text)
        if len(given) == 2:
            yield Fault(
                (*path, given[1]), f"{path_text(path)} gives both {given[0]} and {given[1]}; keep one"
            )
    size, word, width = (entry.get(key) for key in ("size_bits", "word_bits", "width_bits"))
    cluster, buffers = entry.get("cluster", 1), entry.get("multiple_buffering", 1)
    if is_number(word) and is_number(width) and _counts(word, width) and width % word:
        at = path_text((*path, "width_bits"))
        yield Fault((*path, "width_bits"), f"{at} must be a multiple of word_bits ({word}), not {width}")
    at = path_text((*path, "size_bits"))
    if _counts(size, width, cluster) and size * cluster < width:
        shared = f" over the {cluster} instances of a cluster" if cluster > 1 else ""
        yield Fault((*path, "size_bits"), f"{at} must be >= width_bits ({width}){shared}, not {size}")
    elif _counts(size, word, buffers) and size < word * buffers:
        yield Fault((*path, "size_bits"), f"{at} must hold {buffers} word(s) of {word} bits, not {size}")


def _list_faults(entry: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Lists that name something twice, and tensors that a level does not keep."""
    axes = [(("fanout", axis, "dims"), value_at(entry, ("fanout", axis, "dims"))) for axis in ("x", "y")]
    plain = [
        ((key,), entry.get(key)) for key in ("keeps", "bypass_allowed", "temporal_dims", "temporal_order")
    ]
    for key, listed in (*plain, *axes):
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            yield Fault((*path, *key), f"{path_text((*path, *key))} names {name} twice")
    keeps, bypass = entry.get("keeps"), entry.get("bypass_allowed")
    if isinstance(keeps, list) and keeps and isinstance(bypass, list):
        for tensor in bypass:
            if tensor in TENSORS and tensor not in keeps:
                at = path_text((*path, "bypass_allowed"))
                has = ", ".join(map(str, keeps))
                text = f"{at} names {tensor}, which the level does not keep (keeps: {has})"
                yield Fault((*path, "bypass_allowed"), text)


def _factor_faults(entry: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Imported constraints that contradict each other."""
    fixed, most = entry.get("fixed_temporal"), entry.get("max_temporal")
    dims = entry.get("temporal_dims")
    at = path_text((*path, "fixed_temporal"))
    for dim, factor in fixed.items() if isinstance(fixed, dict) else ():
        if not is_number(factor):
            continue
        if isinstance(dims, list) and factor > 1 and dim not in dims:
            yield Fault((*path, "fixed_temporal"), f"{at} fixes {dim}, which is not in temporal_dims")
        limit = most.get(dim) if isinstance(most, dict) else None
        if is_number(limit) and factor > limit:
            text = f"{at} fixes {dim} at {factor}, above {limit} of max_temporal"
            yield Fault((*path, "fixed_temporal"), text)


def _place_faults(entry: Mapping[str, Any], path: Path, *, outermost: bool) -> Iterator[Fault]:
    """What only the outermost level may do, or may not."""
    if outermost and entry.get("bypass_allowed"):
        at = path_text((*path, "bypass_allowed"))
        yield Fault((*path, "bypass_allowed"), f"{at} must be empty: the outermost level keeps every tensor")
    if not outermost and entry.get("size_bits") == "unbounded":
        at = path_text((*path, "size_bits"))
        text = f"{at} must be a number of bits; only the outermost level may be unbounded"
        yield Fault((*path, "size_bits"), text)
    keeps = entry.get("keeps")
    if (
        entry.get("residency") is True
        and isinstance(keeps, list)
        and not {"inputs", "outputs"} <= set(map(str, keeps))
    ):
        at = path_text((*path, "residency"))
        text = f"{at} must be on a level that keeps inputs and outputs, where feature maps stay"
        yield Fault((*path, "residency"), text)


def _stack_faults(entries: list[dict[str, Any]]) -> Iterator[Fault]:
    """Names, the outermost level, and the residency of all levels together."""
    names = [entry.get("name") for entry in entries]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            path: Path = ("levels", index, "name")
            first = names.index(name)
            text = f"{path_text(path)} is {name!r}, and so is levels[{first}].name; names must differ"
            yield Fault(path, text)
    keeps = entries[0].get("keeps")
    lacking = [tensor for tensor in TENSORS if tensor not in keeps] if isinstance(keeps, list) else []
    if lacking:
        yield Fault(
            ("levels", min(1, len(entries) - 1), BEHIND),
            "levels: the outermost level must keep weights, inputs and outputs; "
            f"{names[0]!r} lacks {' and '.join(lacking)}",
        )
    homes = [index for index, entry in enumerate(entries) if entry.get("residency") is True]
    for index in homes[1:]:
        path = ("levels", index, "residency")
        text = f"{path_text(path)} stands on {names[homes[0]]!r} too; feature maps stay on one level"
        yield Fault(path, text)


def _count_faults(document: Mapping[str, object], entries: list[dict[str, Any]]) -> Iterator[Fault]:
    """The fan-outs multiply to the number of MAC units."""
    product, parts = 1, []
    for entry in entries:
        sizes = [value_at(entry, ("fanout", axis, "size")) for axis in ("x", "y")]
        sizes = [1 if size is None else size for size in sizes]
        if not _counts(*sizes):
            return
        product *= sizes[0] * sizes[1]
        if sizes != [1, 1]:
            parts.append(f"{entry.get('name')} {sizes[0]} x {sizes[1]}")
    count = value_at(document, ("mac", "count"))
    if _counts(count) and count != product:
        told = ", ".join(parts) or "no level has one"
        text = f"mac.count must be the product of the fan-outs, {product} ({told}), not {count}"
        yield Fault(("mac", "count"), text)


def _mac_and_ops_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    mac, ops = document.get("mac"), document.get("ops")
    if isinstance(mac, Mapping) and "anchor_pj" not in mac and mac.get("relative") != "qkeras":
        text = "mac.anchor_pj is missing; the energy in pJ of one INT8 x INT8 MAC"
        yield Fault(("mac", "anchor_pj"), text)
    if isinstance(mac, Mapping) and mac.get("shift_add") is not None and mac.get("relative") == "constant":
        text = "mac.shift_add is never read: mac.relative is constant, every MAC costs the anchor; keep one"
        yield Fault(("mac", "shift_add"), text)
    if isinstance(ops, Mapping) and ops.get("scale_to_node", True) and document.get("technology") is None:
        text = "technology is missing; ops.scale_to_node needs it: {node_nm: 65, vdd_v: 1.0, freq_mhz: 200}"
        yield Fault(("technology",), text)


def _counts(*values: Any) -> bool:
    """Whole numbers > 0, all of them."""
    return all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in values)
