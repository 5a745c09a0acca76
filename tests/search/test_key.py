"""Content keys: golden vectors of search.md section 9."""

import math

import numpy as np
import pytest

from bitjoule.search.key import canonical_json, key


def test_golden_keys() -> None:
    payload = {"network": "mobilenetv2", "width": 0.5, "scheme": "hpr-w4a4", "seed": 0}
    assert canonical_json(payload) == '{"network":"mobilenetv2","scheme":"hpr-w4a4","seed":0,"width":0.5}'
    assert key("accuracy", payload) == "0ad559b60afd17f5640ce74f5aa5747bc79cf3e0e4308e668c04f22d3f5372b1"
    unicode = {"b": [1, 2.5, True, None], "a": "\u00b5J"}
    assert key("cost", unicode) == "710cdcda3f7a632f3d1c33501d05856b446c5001933257a588e3066a659335ea"


def test_kind_and_number_types_matter() -> None:
    assert key("accuracy", {"a": 1}) != key("cost", {"a": 1})
    assert key("cost", {"a": 1}) != key("cost", {"a": 1.0})
    assert key("cost", {"a": (1, 2)}) == key("cost", {"a": [1, 2]})


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"a": [1.0, math.nan]}, "payload.a[1]: a content key must hold finite numbers, not nan"),
        ({"a": -math.inf}, "payload.a: a content key must hold finite numbers, not -inf"),
        ({1: 2}, "payload: keys of a content key must be text, not 1"),
        (
            {"a": np.float32(1)},
            "payload.a: a content key holds mappings, lists, texts, numbers, booleans and null, "
            "not float32; convert it first",
        ),
    ],
)
def test_refuses_what_has_no_one_json(payload: object, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        key("accuracy", payload)
    assert str(caught.value) == text
