"""Mapping: its JSON, its canonical form, and what it refuses, with the texts."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.mapping.nest import LevelNest, Mapping, MappingError
from tests.mapping.eyeriss_like import ALL, best, eyeriss_like, pointwise
from tests.mapping.random_nests import random_case, with_levels

WHO = "mapping of layer 'L1' on eyeriss_like: "


@given(rng=st.randoms(use_true_random=False))
def test_json_round_trip(rng: random.Random) -> None:
    problem, mapping, accelerator = random_case(rng)
    text = json.dumps(mapping.to_json())
    again = Mapping.from_json(json.loads(text))
    assert again == mapping
    assert again.hash == mapping.hash
    again.check(problem, accelerator)


def test_the_document_is_the_one_of_the_schema() -> None:
    document = best().to_json()
    assert document["schema"] == "bitjoule.mapping/1"
    assert document["levels"][3] == {  # type: ignore[index]
        "name": "inter_PE_spatial",
        "keeps": [],
        "temporal": [],
        "spatial": {"x": [], "y": [["K", 8]]},
    }


def test_the_canonical_form_ignores_idle_loops_only() -> None:
    mapping = best()
    idle = with_levels(mapping, psum_spad=LevelNest("psum_spad", ("outputs",), (("P", 1), ("K", 3))))
    assert idle != mapping
    assert (idle.canonical, idle.hash) == (mapping.canonical, mapping.hash)
    swapped = with_levels(mapping, DRAM=LevelNest("DRAM", ALL, (("Q", 4), ("P", 7))))
    assert swapped.hash != mapping.hash
    assert sorted([swapped.canonical, mapping.canonical]) == sorted([mapping.canonical, swapped.canonical])
    assert mapping.hash.startswith("sha256:")
    assert len(mapping.hash) == 71


def level(which: str, /, **changes: Any) -> Callable[[Mapping], Mapping]:
    def change(mapping: Mapping) -> Mapping:
        old = next(entry for entry in mapping.levels if entry.name == which)
        return with_levels(mapping, **{which: replace(old, **changes)})

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            level("DRAM", temporal=(("P", 7),), keeps=ALL),
            "loop products do not match the layer: Q is 14, the layer has 56",
        ),
        (
            level("shared_glb", temporal=(("P", 4), ("R", 3))),
            "loop products do not match the layer: C is 12, the layer has 96, P is 28, the layer has 56, "
            "R is 3, the layer has 1",
        ),
        (
            level("DRAM", temporal=(("M", 2),)),
            "level 'DRAM' loops over 'M'; dimensions are N G K C P Q R S",
        ),
        (
            level("DRAM", temporal=(("P", 0), ("Q", 2.0))),
            "level 'DRAM': the bound of P must be a whole number >= 1, not 0; "
            "level 'DRAM': the bound of Q must be a whole number >= 1, not 2.0",
        ),
        (
            level("ifmap_spad", name="psum_spad"),
            "level 'psum_spad' stands 2 times",
        ),
        (
            level("ifmap_spad", name="rf"),
            "it is of another hardware: its levels are psum_spad, weights_spad, rf, inter_PE_spatial, "
            "inter_PE_column_spatial, shared_glb, DRAM, those of eyeriss_like psum_spad, weights_spad, "
            "ifmap_spad, inter_PE_spatial, inter_PE_column_spatial, shared_glb, DRAM (innermost first)",
        ),
        (
            level("shared_glb", keeps=("weights", "inputs")),
            "level 'shared_glb' cannot keep weights (it keeps inputs, outputs)",
        ),
        (
            level("inter_PE_spatial", keeps=("inputs",)),
            "level 'inter_PE_spatial' cannot keep inputs (it keeps nothing)",
        ),
        (
            level("DRAM", keeps=("weights",)),
            "level 'DRAM' must keep inputs, outputs: no level outside it keeps them",
        ),
        (
            level("DRAM", keeps=(*ALL, "biases")),
            "level 'DRAM' keeps 'biases', which is no tensor (tensors: weights, inputs, outputs)",
        ),
        (
            level("DRAM", keeps=("weights", "inputs", "inputs", "outputs")),
            "level 'DRAM' names a tensor twice: weights, inputs, inputs, outputs",
        ),
    ],
)
def test_check_refuses(change: Callable[[Mapping], Mapping], text: str) -> None:
    with pytest.raises(MappingError) as caught:
        change(best()).check(pointwise(), eyeriss_like())
    assert str(caught.value) == WHO + text


def test_a_resident_tensor_is_kept_at_home_and_nowhere_outside() -> None:
    inner = eyeriss_like().resident("shared_glb", ("inputs",), 1000)
    with pytest.raises(MappingError) as caught:
        best().check(pointwise(), inner)
    assert caught.value.faults == ("level 'DRAM' cannot keep inputs (it keeps weights, outputs)",)
    level("DRAM", keeps=("weights", "outputs"))(best()).check(pointwise(), inner)
    away = level("shared_glb", keeps=("outputs",))(level("DRAM", keeps=("weights", "outputs"))(best()))
    with pytest.raises(MappingError, match=r"level 'shared_glb' must keep inputs: no level outside it keeps"):
        away.check(pointwise(), inner)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "schema must be 'bitjoule.mapping/1', not 'list'"),
        ({"schema": "v2"}, "schema must be 'bitjoule.mapping/1', not 'v2'"),
        ({}, "levels must be a list of at least one level, not None"),
        (
            {"levels": [{"nam": "a"}], "note": 1},
            "note is not a key (keys: schema, levels); "
            "levels[0].nam is not a key (keys: name, keeps, temporal, spatial); "
            "levels[0].name must be a text, not None; "
            "levels[0].keeps must be a list of tensors, not None",
        ),
        (
            {"levels": [3, {"name": "a", "keeps": [], "temporal": [["K"]], "spatial": {"z": []}}]},
            "levels[0] must be a mapping with the keys name, keeps, temporal, spatial, not 3; "
            "levels[1].spatial must have the keys x and y, not {'z': []}; "
            "levels[1].temporal must be a list of [dimension, bound], not [['K']]",
        ),
        (
            {"levels": [{"name": "a", "keeps": [], "temporal": [["K", "3"]]}]},
            "level 'a': the bound of K must be a whole number >= 1, not '3'",
        ),
    ],
)
def test_from_json_refuses(document: Any, text: str) -> None:
    if isinstance(document, dict):
        document = {"schema": "bitjoule.mapping/1", **document}
    with pytest.raises(MappingError) as caught:
        Mapping.from_json(document)
    assert str(caught.value) == f"mapping: {text}"
