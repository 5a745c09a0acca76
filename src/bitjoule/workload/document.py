"""Reading a JSON document field by field: what is not exactly what `to_json` writes is a `GraphError`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as short
from typing import TypeGuard

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.workload.graph_error import GraphError

__all__ = ["Entry", "entries", "schema"]


class Entry:
    """A mapping with exactly the keys `keys`; every reading method checks the type and names the place.

    Keys of `optional` may be missing, and hold something where they are there: they read as "", () or None.

    >>> Entry({"name": "fc", "K": 10}, "layer 0", ("name", "K")).count("K")
    10
    >>> Entry({"name": "fc"}, "layer 0", ("name", "K"))
    Traceback (most recent call last):
    bitjoule.workload.graph_error.GraphError: layer 0: key 'K' is missing; keys: name, K
    """

    def __init__(self, value: object, place: str, keys: Sequence[str], optional: Sequence[str] = ()) -> None:
        self.values = mapping(value, place)
        self.optional = frozenset(optional)
        self.place = place
        for key in keys:
            if key not in self.values:
                raise GraphError(f"{place}: key {key!r} is missing; keys: {', '.join(keys)}")
        for key in self.values:
            if key not in keys and key not in optional:
                known = ", ".join((*keys, *optional))
                raise GraphError(f"{place}: unknown key {key!r}; keys: {known}")
            if key in optional and not self.values[key] and not is_number(self.values[key]):
                raise self.fault(key, "left out when it is empty")

    def fault(self, key: str, expected: str) -> GraphError:
        """The error that says what `key` must be."""
        return GraphError(f"{self.place}: {key} must be {expected}, not {short(self.values[key])}")

    def _value(self, key: str, missing: object) -> object:
        return self.values.get(key, missing) if key in self.optional else self.values[key]

    def text(self, key: str) -> str:
        """A text."""
        value = self._value(key, "")
        if not isinstance(value, str):
            raise self.fault(key, "a text")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise self.fault(key, "true or false")
        return value

    def count(self, key: str, least: int = 1) -> int:
        """An integer of at least `least`."""
        value = self.values[key]
        if not is_integer(value) or value < least:
            raise self.fault(key, f"an integer of at least {least}")
        return value

    def number(self, key: str) -> float | None:
        """A finite number of at least 0; None where an optional key is missing."""
        value = self._value(key, None)
        if value is None and key not in self.values:
            return None
        if not is_number(value) or not 0 <= value < math.inf:
            raise self.fault(key, "a finite number of at least 0")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, "a list of texts")
        return tuple(value)

    def named_texts(self, key: str) -> dict[str, str]:
        """A mapping of names to texts."""
        found: dict[str, str] = {}
        for name, value in mapping(self._value(key, {}), f"{self.place}: {key}").items():
            if not isinstance(value, str):
                raise GraphError(f"{self.place}: {key}[{name!r}] must be a text, not {short(value)}")
            found[name] = value
        return found

    def integers(self, key: str, length: int, least: int | None = None) -> tuple[int, ...]:
        """A list of `length` integers, each of at least `least` where that is given."""
        value = self.values[key]
        if (
            not isinstance(value, list)
            or len(value) != length
            or not all(is_integer(item) and (least is None or item >= least) for item in value)
        ):
            bound = "" if least is None else f" of at least {least}"
            raise self.fault(key, f"a list of {length} integers{bound}")
        return tuple(value)

    def shapes(self, key: str) -> dict[str, tuple[int, ...]]:
        """A mapping of names to lists of integers of at least 0."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in mapping(self.values[key], f"{self.place}: {key}").items():
            if not isinstance(shape, list) or not all(is_integer(size) and size >= 0 for size in shape):
                raise GraphError(
                    f"{self.place}: {key}[{name!r}] must be a shape such as [1, 8], not {short(shape)}"
                )
            found[name] = tuple(shape)
        return found

    def attributes(self, key: str) -> dict[str, int | float | str | bool | tuple[int, ...]]:
        """A mapping of names to numbers, texts, true or false, or lists of integers."""
        found: dict[str, int | float | str | bool | tuple[int, ...]] = {}
        for name, value in mapping(self.values[key], f"{self.place}: {key}").items():
            if isinstance(value, list) and all(is_integer(item) for item in value):
                found[name] = tuple(value)
            elif isinstance(value, int | float | str):
                found[name] = value
            else:
                raise GraphError(
                    f"{self.place}: {key}[{name!r}] must be a number, a text, true, false or a list of "
                    f"integers, not {short(value)}"
                )
        return found

    def format(self, key: str) -> TensorFormat | None:
        """A Format as it prints, or None."""
        value = self.values[key]
        if value is None:
            return None
        text = self.text(key)
        try:
            parsed = parse_tensor_format(text)
        except ValueError as error:
            raise GraphError(f"{self.place}: {key}: {error}") from None
        if str(parsed) != text:
            raise self.fault(key, f"written {str(parsed)!r}")
        return parsed

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """One of the texts `allowed`."""
        value = self.text(key)
        choices = sorted(allowed)
        if value not in choices:
            raise self.fault(key, f"one of {', '.join(choices)}")
        return value

    def items(self, key: str) -> list[object]:
        """A list of anything."""
        value = self.values[key]
        if not isinstance(value, list):
            raise self.fault(key, "a list")
        return value


def entries(document: Entry, key: str, keys: Sequence[str], optional: Sequence[str] = ()) -> list[Entry]:
    """The mappings of the list `key`, each with exactly `keys` and perhaps `optional`."""
    return [
        Entry(value, f"{document.place}: {key}[{index}]", keys, optional)
        for index, value in enumerate(document.items(key))
    ]


def schema(document: object, kind: str, expected: str) -> None:
    """Refuse a document that does not name the schema `expected`."""
    if not isinstance(document, Mapping) or document.get("schema") != expected:
        found = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
        raise GraphError(f"a {kind} document has schema {expected!r}, not {short(found)}")


def mapping(value: object, place: str) -> Mapping[str, object]:
    """`value` if it is a mapping whose keys are texts."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise GraphError(f"{place} must be a mapping of texts, not {short(value)}")
    return value


def is_number(value: object) -> TypeGuard[float]:
    """True for an integer or a float that is no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: object) -> TypeGuard[int]:
    """True for an integer that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)
