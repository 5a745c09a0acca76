"""What pydantic found wrong with a study file, in words that say how to mend it."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bitjoule.search.study_yaml import Place, YamlText

__all__ = ["faults_of", "nearest_of"]

TYPES: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "finite_number": "a finite number",
}
BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}


def nearest_of(what: str, found: object, known: Sequence[str]) -> str:
    """`unknown WHAT 'found', did you mean 'near'?`, or the list of what is known.

    >>> nearest_of("hardware", "eyeris", ["eyeriss", "simba"])
    "unknown hardware 'eyeris', did you mean 'eyeriss'?"
    """
    near = difflib.get_close_matches(str(found), known, n=1, cutoff=0.6)
    return f"unknown {what} {found!r}" + (
        f", did you mean {near[0]!r}?" if near else f"; one of: {', '.join(known)}"
    )


def faults_of(error: ValidationError, text: YamlText, model: type[BaseModel]) -> list[str]:
    """One line per fault, each place once, with the file's lines."""
    faults: dict[tuple[Place, str], None] = {}
    for details in error.errors():
        place = _place(details["loc"], text.data)
        if details["type"].startswith("union_tag"):
            place = (*place, "kind")
        faults[place, text.fault(place, _words(details, model))] = None
    return [line for _, line in faults]


def _words(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, found, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return nearest_of("key", details["loc"][-1], _keys(model, details["loc"][:-1]))
    if kind == "literal_error":
        allowed = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
        if details["loc"] == ("bitjoule",):
            return f"schema version {found!r} is not known to this bitjoule; it reads 1"
        return _choice(found, allowed)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = [part.strip(" '") for part in context.get("expected_tags", "'grid', 'topology'").split(",")]
        tag = found.get("kind") if isinstance(found, Mapping) else None
        return "is missing; one of: " + ", ".join(allowed) if tag is None else _choice(tag, allowed)
    if kind in TYPES:
        return f"must be {TYPES[kind]}, not {found!r}"
    if kind in BOUNDS:
        sign, bound = BOUNDS[kind]
        return f"must be {sign} {context[bound]:g}, not {found!r}"
    if kind == "too_short":
        return "needs at least one entry"
    return details["msg"].removeprefix("Value error, ")


def _choice(found: object, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(found), allowed, n=1, cutoff=0.6)
    mend = f" (did you mean {near[0]!r}?)" if near else ""
    return f"must be one of {', '.join(allowed)}, not {found!r}{mend}"


def _place(location: Iterable[str | int], document: object) -> Place:
    """pydantic's location without the names of union branches: only what stands in the document, and a key
    that is missing from it."""
    place: list[str | int] = []
    value = document
    parts = list(location)
    for index, part in enumerate(parts):
        if _holds(value, part):
            value = value[part]  # type: ignore[index]
        elif index == len(parts) - 1 and isinstance(value, Mapping):
            value = None  # a missing key
        else:
            continue
        place.append(part)
    return tuple(place)


def _holds(value: object, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Keys of the section at `location`."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if fields:
            models = [found for annotation in fields for found in _models(annotation)]
        else:  # the tag of a union: keep the branch that it names
            tagged = [m for m in models if str(part) in get_args(_kind(m))]
            models = tagged or models
    return sorted({name for found in models for name in found.model_fields})


def _kind(model: type[BaseModel]) -> object:
    field = model.model_fields.get("kind")
    return None if field is None else field.annotation


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple) or get_args(annotation):
        return [found for part in get_args(annotation) for found in _models(part)]
    return []
