"""Where every number of a hardware of kind `hierarchy` comes from, by dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bitjoule.hardware.fields import Closed, DefaultSource, Provenance
from bitjoule.hardware.hierarchy import LevelSection

if TYPE_CHECKING:
    from bitjoule.hardware.schema import Hardware

__all__ = ["hierarchy_keys", "hierarchy_source"]

NO_NUMBERS = ("name", "keeps", "source", "sources")
RULES: Mapping[str, Provenance] = {
    "psum_bits": Provenance(status="assumed", cite="as wide as no sum of the layer can overflow"),
    "packing": Provenance(status="assumed", cite="no element straddles two words"),
}


def hierarchy_keys(hardware: Hardware) -> tuple[str, ...]:
    """Dotted keys of all numbers and rules: "psum_bits", "mac.count", "levels.glb.read_pj" ..."""
    found = list(RULES)
    for name, section in _sections(hardware):
        fields = type(section).model_fields
        keys = [key for key in fields if key not in NO_NUMBERS and getattr(section, key) is not None]
        if isinstance(section, LevelSection) and not section.stores:
            keys = [key for key in keys if key in ("fanout", "fixed_spatial")]
        found += [f"{name}.{key}" for key in keys]
    return tuple(found)


def hierarchy_source(hardware: Hardware, key: str) -> Provenance:
    """Provenance of one of `hierarchy_keys`.

    A pure fan-out names no source of its own: its size is part of the array, like `mac.count`.

    Raises:
        KeyError: no such key.
    """
    if key not in hierarchy_keys(hardware):
        raise KeyError(
            f"{key} is no key of hardware {hardware.name!r}; its keys are psum_bits, packing and those that "
            "start with mac., levels.NAME. or ops."
        )
    if key in RULES:
        named = hardware.mac.sources.get(key) if hardware.mac is not None else None
        if named is None and key == "psum_bits" and key in hardware.model_fields_set and hardware.mac:
            named = hardware.mac.source
        return hardware.provenance[named] if named is not None else RULES[key]
    section_name, _, last = key.rpartition(".")
    section = dict(_sections(hardware))[section_name]
    source, sources = getattr(section, "source", None), getattr(section, "sources", {})
    if source is None:
        return hierarchy_source(hardware, "mac.count")
    if last in sources:
        return hardware.provenance[sources[last]]
    if last not in section.model_fields_set:
        default = next(e for e in type(section).model_fields[last].metadata if isinstance(e, DefaultSource))
        return Provenance(status=default.status, cite=default.cite)
    return hardware.provenance[source]


def _sections(hardware: Hardware) -> list[tuple[str, Closed]]:
    named: list[tuple[str, Closed | None]] = [("mac", hardware.mac)]
    named += [(f"levels.{level.name}", level) for level in hardware.levels]
    named.append(("ops", hardware.ops))
    return [(name, section) for name, section in named if section is not None]
