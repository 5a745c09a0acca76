"""A plain document becomes a Hardware, or a list of everything that is wrong with it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bitjoule.hardware.fault import (
    Fault,
    HardwareError,
    Path,
    document_order,
    is_number,
    path_text,
    shown,
    value_at,
)
from bitjoule.hardware.from_table import tables_read
from bitjoule.hardware.hierarchy import (
    AxisSection,
    FanoutSection,
    LevelSection,
    MacSection,
    OpsSection,
    ShiftAddSection,
)
from bitjoule.hardware.hierarchy_faults import hierarchy_faults
from bitjoule.hardware.schema import (
    HIERARCHY_KEYS,
    KINDS,
    CyclePrices,
    Hardware,
    MoonsSection,
    OverheadSplit,
    Provenance,
    Technology,
    TtaSection,
)
from bitjoule.hardware.source_faults import source_faults
from bitjoule.hardware.windows import window_faults

__all__ = ["validated"]

MODELS: dict[Path, type[BaseModel]] = {
    (): Hardware,
    ("technology",): Technology,
    ("moons",): MoonsSection,
    ("tta",): TtaSection,
    ("tta", "e_cycle_pj"): CyclePrices,
    ("tta", "overhead_split"): OverheadSplit,
    ("mac",): MacSection,
    ("mac", "shift_add"): ShiftAddSection,
    ("ops",): OpsSection,
    ("provenance", "*"): Provenance,
    ("levels", "*"): LevelSection,
    ("levels", "*", "fanout"): FanoutSection,
    ("levels", "*", "fanout", "x"): AxisSection,
    ("levels", "*", "fanout", "y"): AxisSection,
}
"""Where which keys are known; `*` stands for a list position or a name."""


def validated(document: Mapping[str, object], source: str, form: list[Fault]) -> Hardware:
    """The Hardware of a plain document; `form` are faults already found when it was read.

    Raises:
        HardwareError: every fault, in the order of the document.
    """
    written = document
    document, table_faults = tables_read(document)
    faults = [*form, *table_faults]
    hardware = None
    try:
        hardware = Hardware.model_validate(document)
    except ValidationError as error:
        faults += [_fault(details, document) for details in error.errors(include_url=False)]
    faults += _kind_faults(document)
    faults += source_faults(document)
    faults += _sum_faults(document)
    if document.get("kind") == "hierarchy":
        faults += hierarchy_faults(document)
    if document.get("allow_unusual") is not True:
        faults += window_faults(document)
    if faults or hardware is None:
        raise HardwareError(source, document_order(faults, written))
    return hardware


def _fault(details: ErrorDetails, document: Mapping[str, object]) -> Fault:
    """One pydantic error in the words of this house."""
    path: Path = tuple(details["loc"])
    at = path_text(path) or "the document"
    found = shown(details["input"])
    kind, context = details["type"], details.get("ctx", {})
    if path == ("kind",) and kind != "missing":
        return Fault(path, f"kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {found}")
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
        "tuple_type": "a list",
        "too_short": "a mapping with at least one entry",
        "greater_than": f"> {shown(context.get('gt'))}",
        "less_than_equal": f"<= {shown(context.get('le'))}",
        "greater_than_equal": f">= {shown(context.get('ge'))}",
    }.get(kind)
    if kind == "missing":
        text = f"{at} is missing{_mend(path)}"
    elif kind == "extra_forbidden":
        text = f"{at} is not a key{_near(path, document)}"
    elif kind == "must":
        text = f"{at} {details['msg']}, not {found}"
    elif kind == "wrong":
        text = f"{at} {details['msg']}"
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


def _near(path: Path, document: Mapping[str, object]) -> str:
    """The nearest key that would have been one, or all of them."""
    parent = path[:-1]
    model = MODELS.get(parent) or MODELS.get((*parent[:1], "*", *parent[2:]))
    if model is None:
        return ""
    names = [field.alias or name for name, field in model.model_fields.items()]
    if model is Hardware:
        names = [name for name in names if name not in _other_kinds(document)]
    near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f" (keys: {', '.join(names)})"


def _other_kinds(document: Mapping[str, object]) -> tuple[str, ...]:
    """Keys that belong to kinds other than the document's; all of them when its kind is unknown."""
    kind = document.get("kind")
    if kind not in KINDS:
        return ()
    sections = tuple(name for name in ("moons", "tta") if name != kind)
    return sections if kind == "hierarchy" else (*sections, *HIERARCHY_KEYS)


def _kind_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """The keys of the kind must be there, and no others."""
    kind = document.get("kind")
    if kind not in KINDS:
        return
    for key in ("mac", "levels") if kind == "hierarchy" else (str(kind),):
        if document.get(key) is None:
            yield Fault((key,), f"{key} is missing; hardware of kind {kind} describes itself there")
    if document.get("levels") == []:
        yield Fault(("levels",), "levels must have at least one entry, the outermost memory")
    for key in _other_kinds(document):
        if key in document:
            owner = "hierarchy" if key in HIERARCHY_KEYS else key
            yield Fault((key,), f"{key} is not a key of kind {kind}; it belongs to kind {owner}")
    if kind == "tta" and document.get("technology") is None:
        yield Fault(("technology",), "technology is missing; write {node_nm: 22, vdd_v: 0.8, freq_mhz: 300}")


def _sum_faults(document: Mapping[str, object]) -> Iterator[Fault]:
    """Shares of one whole sum to 1."""
    path: Path = ("tta", "overhead_split")
    split = value_at(document, path)
    if isinstance(split, Mapping):
        numbers = [value for value in split.values() if is_number(value)]
        total = math.fsum(numbers)
        if len(numbers) == len(OverheadSplit.model_fields) and abs(total - 1) > 1e-9:
            yield Fault(path, f"{path_text(path)} must sum to 1, not {total:.6g}")
