"""The four maps of a byte, and the grids of two of them."""

import numpy as np
import pytest
import torch

from bitjoule.zoo.data.preprocessing import Preprocessing
from bitjoule.zoo.data.records import DataError

ALL = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize(("kind", "low"), [("signed", -128), ("unit", 0)])
def test_grid_kinds_are_integer_times_scale_bit_for_bit(kind: str, low: int) -> None:
    preprocessing = Preprocessing(kind)
    scale = preprocessing.input_scale
    values = preprocessing.apply(ALL).numpy().reshape(-1)
    codes = np.arange(low, low + 256)
    assert scale is not None
    assert np.array_equal(values, codes.astype(np.float32) * np.float32(scale))
    assert np.array_equal(np.rint(values / np.float32(scale)).astype(int), codes)


def test_moons_spans_minus_one_to_one() -> None:
    values = Preprocessing("moons").apply(ALL)
    assert (float(values.min()), float(values.max())) == (-1.0, 1.0)
    assert torch.allclose(values, 2 * ALL.double().float() / 255 - 1)
    assert Preprocessing("moons").input_scale is None and Preprocessing("moons").input_format is None


def test_standard_subtracts_and_divides_per_channel() -> None:
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    values = Preprocessing("standard").apply(images).reshape(-1).tolist()
    expected = [(0 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert values == pytest.approx(expected, rel=1e-6)
    grey = Preprocessing("standard").apply(images[:, :1])
    assert float(grey) == pytest.approx(-(0.485 + 0.456 + 0.406) / (0.229 + 0.224 + 0.225), rel=1e-6)


def test_json_and_format() -> None:
    assert Preprocessing().to_json() == {"kind": "signed"}
    assert Preprocessing("standard", (0.5,), (0.25,)).to_json() == {
        "kind": "standard",
        "mean": [0.5],
        "std": [0.25],
    }
    assert (Preprocessing("signed").input_format, Preprocessing("unit").input_format) == ("INT8", "UINT8")


def test_faults() -> None:
    with pytest.raises(
        DataError, match="preprocessing must be one of signed, unit, moons, standard, not 'imagenet'"
    ):
        Preprocessing("imagenet")
    with pytest.raises(DataError, match="must be as many, and std above 0"):
        Preprocessing("standard", (0.5,), (0.0,))
    with pytest.raises(DataError, match="has 2 means for images of 3 channels"):
        Preprocessing("standard", (0.5, 0.5), (1.0, 1.0)).apply(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
