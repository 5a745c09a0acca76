"""What was measured on weights: fields of a Layer that stand in the place of what its Format says."""

import json
from dataclasses import replace

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.workload import GraphError, Layer, Workload
from bitjoule.workload.sparsity import Sparsity

FC = Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1, weight_format=parse_tensor_format("SVA1"))


def test_measured_storage_is_what_is_stored() -> None:
    measured = replace(FC, measured_weight_bits=705, weight_terms=1.5)
    assert (FC.weight_storage_bits, FC.stored_bits_per_weight) == (128 * 26, 26)
    assert (measured.weight_storage_bits, measured.stored_bits_per_weight) == (705, 6)
    assert Workload("net", "wSVA1a8", (measured,)).weight_bits == 705
    assert replace(measured, sparsity=Sparsity(2, 4)).weight_storage_bits == 705  # places are part of it
    assert replace(FC, weight_terms=1.5).weight_storage_bits == FC.weight_storage_bits


@pytest.mark.parametrize("terms", [None, 0.0, 1, 1.0341796875])
@pytest.mark.parametrize("bits", [None, 705])
def test_round_trip(terms: float | None, bits: int | None) -> None:
    layer = replace(FC, weight_terms=terms, measured_weight_bits=bits)
    document = json.loads(json.dumps(layer.to_json()))
    assert ("weight_terms" in document, "measured_weight_bits" in document) == (
        terms is not None,
        bits is not None,
    )
    assert Layer.from_json(document) == layer
    workload = Workload("net", "wSVA1a8", (layer,))
    assert Workload.from_json(workload.to_json()) == workload


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"weight_terms": -0.5}, "layer 'fc': weight_terms must be a finite number of at least 0, not -0.5"),
        ({"weight_terms": True}, "layer 'fc': weight_terms must be a finite number of at least 0, not True"),
        ({"weight_terms": None}, "layer 'fc': weight_terms must be left out when it is empty, not None"),
        (
            {"measured_weight_bits": 0},
            "layer 'fc': measured_weight_bits must be an integer of at least 1, not 0",
        ),
        (
            {"measured_weight_bits": 70.5},
            "layer 'fc': measured_weight_bits must be an integer of at least 1, not 70.5",
        ),
    ],
)
def test_nonsense_is_refused(changed: dict[str, object], text: str) -> None:
    with pytest.raises(GraphError) as error:
        Layer.from_json({**FC.to_json(), **changed})
    assert str(error.value) == text


def test_nonsense_in_code_is_refused() -> None:
    with pytest.raises(GraphError, match="layer 'fc': weight_terms must be finite and >= 0, not nan"):
        replace(FC, weight_terms=float("nan"))
    with pytest.raises(GraphError, match="measured_weight_bits must be a positive integer"):
        replace(FC, measured_weight_bits=1.5)
    with pytest.raises(GraphError, match="a matrix product of two activations has no weights to measure"):
        Layer("qk", "matmul", 1, 8, 16, 4, 1, 1, 1, weight_terms=1.0)
