"""Ranges from statistics."""

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import BatchNormRange, CalibrationError, added, statistics_range


def test_extreme_over_channels_and_clips():
    mean, std = torch.tensor([4.0, -1.0]), torch.tensor([1.0, -0.5])
    c = BatchNormRange("x", None, 6.0)
    c.use(mean, std)
    assert float(c.range(parse_tensor_format("INT8")).scale) * 127 == pytest.approx(10.0)
    c.use(mean, std, low=0.0, high=6.0)
    assert float(c.range(parse_tensor_format("UINT8")).scale) * 255 == pytest.approx(6.0)
    low, high = statistics_range(mean, std, low=0.0)
    assert low.tolist() == [0.0, 0.0]
    assert high.tolist() == [10.0, 2.0]


def test_per_channel():
    c = BatchNormRange("x", 1, 2.0)
    c.use(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0]))
    scale = c.range(parse_tensor_format("INT8/channel")).scale
    np.testing.assert_allclose(scale * 127, [2.0, 4.0], rtol=1e-6)


def test_sums_add_variances():
    mean, std = added(
        [torch.tensor([1.0]), torch.tensor([-3.0])], [torch.tensor([5.0]), torch.tensor([-12.0])]
    )
    assert mean.tolist() == [-2.0]
    assert std.tolist() == [13.0]


def test_refusals():
    c = BatchNormRange("features.3", None)
    with pytest.raises(CalibrationError, match=r"features\.3: data-free needs BatchNorm statistics: this "):
        c.range(parse_tensor_format("INT8"))
    with pytest.raises(CalibrationError, match=r"features\.3: bn takes statistics with use\(mean, std\)"):
        c.update(torch.ones(1))
    with pytest.raises(CalibrationError, match=r"statistics hold NaN or infinite values"):
        c.use(torch.tensor([float("nan")]), torch.ones(1))
