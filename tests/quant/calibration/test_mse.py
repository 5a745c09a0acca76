"""The search for the least error: printed vectors, and a brute-force loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import mse, parse_calibrator
from bitjoule.quant.calibration.mse import Candidates, shrunken
from tests.quant.calibration.laplace import laplace


@pytest.mark.parametrize(
    ("power", "n", "text", "index", "threshold"),
    [
        ("2.4", 1200, "INT8_NARROW", 0, 7.0900768),
        ("2.4", 1200, "INT6_NARROW", 3, 6.8773745),
        ("2.4", 1200, "INT4_NARROW", 26, 5.2466569),
        ("2.4", 1200, "INT3_NARROW", 45, 3.8995423),
        ("2.4", 1200, "INT2_NARROW", 69, 2.1979238),
        ("2", 1200, "INT4_NARROW", 33, 4.7503515),
        ("2", 1200, "INT2_NARROW", 72, 1.9852215),
        ("2.4", 600, "INT4_NARROW", 21, 5.0535744),
    ],
)
def test_printed_vectors(power, n, text, index, threshold):
    found = parse_calibrator(f"mse({power})").make("x")
    found.update(laplace(n))
    tensor_format = parse_tensor_format(text)
    assert found.index(tensor_format).tolist() == [index]
    params = found.range(tensor_format)
    assert float(params.scale) * params.format.max_level == pytest.approx(threshold, rel=2e-7)


def brute_force(x: np.ndarray, text: str, power: float, steps: int) -> int:
    """The index by a plain loop over `Format.quantize`."""
    tensor_format = parse_tensor_format(text)
    f = tensor_format.format
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    losses = []
    for i in range(steps):
        shrink = 1 - 0.01 * i
        zero_point = 0
        if tensor_format.scaling.zero_point:
            levels = f.max_level - f.min_level
            scale = float(np.float32((high * shrink - low * shrink) / levels))
            zero_point = int(np.clip(np.rint(-low * shrink / scale) + f.min_level, f.min_level, f.max_level))
        else:
            top = max(-low, high) if f.signed else high
            scale = float(np.float32(tensor_format.scale_of(top * shrink)))
        y = f.dequantize(f.quantize(x, scale, zero_point), scale, zero_point)
        losses.append((np.abs(x - y) ** power).sum())
    return int(np.argmin(losses))


@given(
    st.integers(0, 10**6),
    st.sampled_from(
        [
            "INT4",
            "INT3_NARROW",
            "UINT4",
            "INT4+zp",
            "UINT3+zp",
            "POT4",
            "APOT4",
            "SPOT2",
            "INT4*pot",
            "MIDRISE2",
        ]
    ),
    st.sampled_from([2.0, 2.4, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_equals_a_loop_over_the_format(seed, text, power):
    x = np.random.default_rng(seed).laplace(size=200)
    if text.startswith("UINT4"):
        x = np.abs(x)
    found = parse_calibrator(f"mse({power}, 60)").make("x")
    found.update(torch.from_numpy(x))
    assert found.index(parse_tensor_format(text)).item() == brute_force(x, text, power, 60)


def test_rows_equal_one_row_at_a_time():
    w = torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    together = parse_calibrator("mse").make("w", axis=0)
    together.update(w)
    tensor_format = parse_tensor_format("INT4_NARROW/channel")
    one = parse_tensor_format("INT4_NARROW")
    for row, index in zip(w, together.index(tensor_format).tolist(), strict=True):
        alone = parse_calibrator("mse").make("w")
        alone.update(row)
        assert alone.index(one).tolist() == [index]


@pytest.mark.parametrize("text", ["UINT2", "UINT4", "UINT8", "UPOT3"])
def test_the_short_list_of_long_tensors_holds_the_best(text, monkeypatch):
    monkeypatch.setattr(mse, "_MANY", 1 << 14)
    g = torch.Generator().manual_seed(3)
    x = (torch.randn(1, 1 << 14, generator=g).abs() ** 1.5).double()
    low, high = shrunken(torch.zeros(1), x.max()[None], 80)
    candidates = Candidates(low, high, parse_tensor_format(text))
    exact = candidates.losses(x, 2.4, torch.arange(80)).argmin(0)
    assert candidates.best(x, 2.4).tolist() == exact.tolist()
