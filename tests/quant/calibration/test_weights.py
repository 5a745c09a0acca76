"""Scales of weights: per tensor, channel and group."""

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import QuantizerWarning
from bitjoule.quant.calibration import CalibrationError, parse_calibrator, weight_params


@pytest.mark.parametrize(
    "text", ["INT4", "INT4/channel", "INT4/group5", "INT4/group128", "SPOT2/channel*pot"]
)
def test_shapes_and_groups(text):
    tensor_format = parse_tensor_format(text)
    w = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    params = weight_params(w, tensor_format, parse_calibrator("minmax"), name="w")
    assert params.scale.shape == tensor_format.scaling.scale_shape(tuple(w.shape))
    spread = tensor_format.scaling.expand(params.scale, tuple(w.shape))
    top = max(tensor_format.format.max_level, -tensor_format.format.min_level)
    assert (np.abs(w.numpy()) <= np.broadcast_to(spread, w.shape) * top * (1 + 1e-6)).all()


def test_groups_of_zeros_are_counted_together():
    w = torch.ones(4, 10)
    w[0], w[1, :4] = 0, 0
    with pytest.warns(QuantizerWarning) as told:
        params = weight_params(
            w, parse_tensor_format("INT4/group4"), parse_calibrator("mse"), name="fc.weight"
        )
    assert [str(item.message) for item in told] == [
        "fc.weight: all values are zero in 4 of 12 groups; the scale is set to 1"
    ]
    assert params.scale[0].tolist() == [1.0, 1.0, 1.0] and params.scale[1, 0] == 1 > params.scale[1, 1]


def test_a_transposed_convolution_has_its_channels_on_axis_1():
    w = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    tensor_format = parse_tensor_format("INT8/channel")
    params = weight_params(w, tensor_format, parse_calibrator("mse"), name="w", axis=1)
    same = weight_params(w.movedim(1, 0), tensor_format, parse_calibrator("mse"), name="w")
    np.testing.assert_array_equal(params.scale, same.scale)


def test_every_weight_counts():
    w = torch.zeros(1 << 21)
    w[-1] = 3.0
    spec = parse_calibrator("mse(2.4, 2)")
    params = weight_params(w, parse_tensor_format("INT8"), spec, name="w")
    assert float(params.scale) == pytest.approx(3 / 127)


def test_nan():
    w = torch.ones(2, 3)
    w[1, 0] = float("nan")
    with pytest.raises(CalibrationError, match=r"fc\.weight: index 1 has 1 NaN or infinite values"):
        weight_params(w, parse_tensor_format("INT8"), parse_calibrator("minmax"), name="fc.weight")
