"""`source` and `sources` of a section must name entries of `provenance`, `sources` keys of the section."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from bitjoule.hardware.fault import Fault, Path, path_text, value_at
from bitjoule.hardware.fields import Closed
from bitjoule.hardware.hierarchy import LevelSection, MacSection, OpsSection
from bitjoule.hardware.schema import CyclePrices, MoonsSection, OverheadSplit, TtaSection

__all__ = ["source_faults"]

SECTIONS: dict[str, type[Closed]] = {
    "moons": MoonsSection,
    "tta": TtaSection,
    "mac": MacSection,
    "ops": OpsSection,
}
BELOW: dict[str, dict[str, type[Closed]]] = {
    "tta": {"e_cycle_pj": CyclePrices, "overhead_split": OverheadSplit},
}
MORE = {"mac": ("psum_bits", "packing")}
"""Keys beside a section that its `sources` may speak for."""


def source_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """Names that are not in `provenance`, and keys of `sources` that are no keys."""
    provenance = document.get("provenance")
    if not isinstance(provenance, Mapping) or not provenance:
        return
    levels = document.get("levels")
    places: list[tuple[Path, type[Closed]]] = [((name,), model) for name, model in SECTIONS.items()]
    places += [(("levels", i), LevelSection) for i in range(len(levels) if isinstance(levels, list) else 0)]
    for place, model in places:
        section = value_at(document, place)
        if not isinstance(section, Mapping):
            continue
        sources = section.get("sources")
        named: list[tuple[Path, object]] = [((*place, "source"), section.get("source"))]
        if isinstance(sources, Mapping):
            named += [((*place, "sources", str(key)), value) for key, value in sources.items()]
            yield from _key_faults(place, model, sources)
        for path, value in named:
            if isinstance(value, str) and value and value not in provenance:
                has = ", ".join(map(str, provenance))
                text = f"{path_text(path)} names {value!r}, which is not in provenance (has: {has})"
                yield Fault(path, text)


def _key_faults(place: Path, model: type[Closed], sources: Mapping[object, object]) -> Iterator[Fault]:
    name = path_text(place)
    keys = [key for key in model.model_fields if key not in ("name", "keeps", "source", "sources")]
    keys += MORE.get(name, ())
    keys += [f"{key}.{child}" for key, below in BELOW.get(name, {}).items() for child in below.model_fields]
    for key in sources:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.6)
            mend = f"; did you mean {near[0]}?" if near else f" (keys: {', '.join(keys)})"
            path = (*place, "sources", str(key))
            yield Fault(path, f"{name}.sources.{key} is not a key of {name}{mend}")
