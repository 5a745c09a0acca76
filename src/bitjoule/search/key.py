"""Content keys: the name of a result is the hash of everything that decides it.

key(kind, payload) = hex SHA-256 of "bitjoule:" kind ":1\\n" followed by the canonical JSON of the payload:
keys sorted by code point, separators "," and ":", UTF-8 unescaped, shortest round-trip floats, NaN and
infinities refused. 1 and 1.0 are different payloads: the types of the study file decide.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

__all__ = ["canonical_json", "key"]

KEY_VERSION = 1


def canonical_json(payload: object) -> str:
    """The one JSON text of a payload of mappings, lists, texts, numbers, booleans and None.

    Raises:
        ValueError: a number that is not finite, a key that is not text, a type JSON lacks; names the place.

    >>> canonical_json({"b": [1, 2.5], "a": "x"})
    '{"a":"x","b":[1,2.5]}'
    """
    _check(payload, "payload")
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key(kind: str, payload: object) -> str:
    """The content key of `payload` as 64 hexadecimal digits; `kind` is "accuracy", "cost", "training" ...

    >>> key("accuracy", {"network": "mobilenetv2", "width": 0.5, "scheme": "hpr-w4a4", "seed": 0})[:8]
    '0ad559b6'
    """
    text = f"bitjoule:{kind}:{KEY_VERSION}\n{canonical_json(payload)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _check(value: object, where: str) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{where}: keys of a content key must be text, not {name!r}")
            _check(item, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: a content key must hold finite numbers, not {value}")
    elif value is not None and not isinstance(value, str | int):
        raise ValueError(
            f"{where}: a content key holds mappings, lists, texts, numbers, booleans and null, "
            f"not {type(value).__name__}; convert it first"
        )
