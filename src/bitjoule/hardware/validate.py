"""A plain document becomes a Hardware, or a list of everything that is wrong with it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bitjoule.hardware.fault import Fault, HardwareError, Path, document_order, path_text
from bitjoule.hardware.schema import (
    KINDS,
    CyclePrices,
    Hardware,
    MoonsSection,
    OverheadSplit,
    Provenance,
    Technology,
    TtaSection,
)

__all__ = ["validated"]

SECTIONS: dict[str, type[BaseModel]] = {"moons": MoonsSection, "tta": TtaSection}
MODELS: dict[Path, type[BaseModel]] = {
    (): Hardware,
    ("technology",): Technology,
    ("moons",): MoonsSection,
    ("tta",): TtaSection,
    ("tta", "e_cycle_pj"): CyclePrices,
    ("tta", "overhead_split"): OverheadSplit,
}


@dataclass(frozen=True)
class Window:
    """The range in which a number is plausible [assumed]; outside it the unit is probably another one."""

    path: Path
    low: float
    high: float
    unit: str
    smaller: str | None = None
    larger: str | None = None


WINDOWS: tuple[Window, ...] = (
    Window(("technology", "node_nm"), 3, 250, "nm"),
    Window(("technology", "freq_mhz"), 1, 10_000, "MHz", "kHz or Hz", "GHz"),
    Window(("moons", "e_mac16_pj"), 1e-4, 100, "pJ per MAC", "fJ", "nJ"),
    *(
        Window(("tta", "e_cycle_pj", name), 1e-2, 10_000, "pJ per cycle", "fJ", "nJ")
        for name in CyclePrices.model_fields
    ),
    Window(("tta", "e_overhead_pj"), 1e-2, 10_000, "pJ per cycle", "fJ", "nJ"),
    Window(("tta", "dram_pj_per_bit"), 1, 200, "pJ per bit", "fJ", "nJ"),
)


def validated(document: Mapping[str, object], source: str, form: list[Fault]) -> Hardware:
    """The Hardware of a plain document; `form` are faults already found when it was read.

    Raises:
        HardwareError: every fault, in the order of the document.
    """
    faults = list(form)
    hardware = None
    try:
        hardware = Hardware.model_validate(document)
    except ValidationError as error:
        faults += [_fault(details, document) for details in error.errors(include_url=False)]
    faults += _kind_faults(document)
    faults += _source_faults(document)
    faults += _sum_faults(document)
    if document.get("allow_unusual") is not True:
        faults += _window_faults(document)
    if faults or hardware is None:
        raise HardwareError(source, document_order(faults, document))
    return hardware


def _fault(details: ErrorDetails, document: Mapping[str, object]) -> Fault:
    """One pydantic error in the words of this house."""
    path: Path = tuple(details["loc"])
    at = path_text(path) or "the document"
    found = _shown(details["input"])
    kind, context = details["type"], details.get("ctx", {})
    if path == ("kind",) and kind != "missing":
        return Fault(path, f"kind must be {' or '.join(KINDS)}, not {found}")
    requirement = {
        "float_type": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "finite_number": "a finite number",
        "string_type": "a text",
        "string_too_short": "a text of at least one character",
        "bool_type": "true or false",
        "model_type": "a mapping of keys",
        "model_attributes_type": "a mapping of keys",
        "dict_type": "a mapping of keys",
        "too_short": "a mapping with at least one entry",
        "greater_than": f"> {_shown(context.get('gt'))}",
        "greater_than_equal": f">= {_shown(context.get('ge'))}",
    }.get(kind)
    if kind == "missing":
        text = f"{at} is missing{_mend(path)}"
    elif kind == "extra_forbidden":
        text = f"{at} is not a key{_near(path)}"
    elif kind == "must":
        text = f"{at} {details['msg']}, not {found}"
    elif kind == "literal_error":
        text = f"{at} must be {context.get('expected', 'another value')}, not {found}"
    elif requirement is not None:
        text = f"{at} must be {requirement}, not {found}"
    else:
        text = f"{at}: {details['msg']}, not {found}"
    return Fault(path, text)


def _mend(path: Path) -> str:
    if path == ("provenance",):
        return "; name where the numbers come from: {mine: {status: assumed, cite: '...'}}"
    if path and path[-1] == "source":
        return "; it names the entry of provenance that this section's numbers come from"
    if path == ("schema",):
        return "; write schema: bitjoule.hardware/1"
    return ""


def _near(path: Path) -> str:
    """The nearest key that would have been one, or all of them."""
    parent = path[:-1]
    model = Provenance if len(parent) == 2 and parent[0] == "provenance" else MODELS.get(parent)
    if model is None:
        return ""
    names = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f" (keys: {', '.join(names)})"


def _shown(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty one"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """The section of the kind must be there, and no other."""
    kind = document.get("kind")
    if kind not in KINDS:
        return
    for section in KINDS:
        if section == kind and document.get(section) is None:
            yield Fault((section,), f"{section} is missing; hardware of kind {kind} describes itself there")
        if section != kind and section in document:
            yield Fault((section,), f"{section} is not a key of kind {kind}; it belongs to kind {section}")
    if kind == "tta" and document.get("technology") is None:
        yield Fault(("technology",), "technology is missing; write {node_nm: 22, vdd_v: 0.8, freq_mhz: 300}")


def _source_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """`source` and `sources` must name entries of `provenance`, `sources` keys of the section."""
    provenance = document.get("provenance")
    if not isinstance(provenance, Mapping) or not provenance:
        return
    for name, model in SECTIONS.items():
        section = document.get(name)
        if not isinstance(section, Mapping):
            continue
        sources = section.get("sources")
        named: list[tuple[Path, object]] = [((name, "source"), section.get("source"))]
        if isinstance(sources, Mapping):
            named += [((name, "sources", str(key)), value) for key, value in sources.items()]
            yield from _source_key_faults(name, model, sources)
        for path, value in named:
            if isinstance(value, str) and value and value not in provenance:
                has = ", ".join(map(str, provenance))
                yield Fault(
                    path, f"{path_text(path)} names {value!r}, which is not in provenance (has: {has})"
                )


def _source_key_faults(
    name: str, model: type[BaseModel], sources: Mapping[object, object]
) -> Iterator[Fault]:
    keys = [key for key in model.model_fields if key not in ("source", "sources")]
    for parent, child in MODELS.items():
        if len(parent) == 2 and parent[0] == name:
            keys += [f"{parent[1]}.{key}" for key in child.model_fields]
    for key in sources:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.6)
            mend = f"; did you mean {near[0]}?" if near else f" (keys: {', '.join(keys)})"
            yield Fault((name, "sources", str(key)), f"{name}.sources.{key} is not a key of {name}{mend}")


def _sum_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """Shares of one whole sum to 1."""
    path: Path = ("tta", "overhead_split")
    split = _value(document, path)
    if isinstance(split, Mapping):
        numbers = [value for value in split.values() if _is_number(value)]
        total = math.fsum(numbers)
        if len(numbers) == len(OverheadSplit.model_fields) and abs(total - 1) > 1e-9:
            yield Fault(path, f"{path_text(path)} must sum to 1, not {total:.6g}")


def _window_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    for window in WINDOWS:
        value = _value(document, window.path)
        if not _is_number(value) or not value > 0 or window.low <= value <= window.high:
            continue
        other = window.smaller if value > window.high else window.larger
        hint = f"; is it in {other}?" if other else ";"
        usual = f"{window.low:g}..{window.high:g} {window.unit}"
        text = f"{path_text(window.path)} = {_shown(value)} is outside {usual}{hint}"
        yield Fault(window.path, f"{text} (set allow_unusual: true to keep it)")


def _value(document: object, path: Path) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
