"""Scales of a weight tensor with a calibrator: exact, per tensor, output channel or group."""

from __future__ import annotations

import warnings

import numpy as np
from torch import Tensor

from bitjoule.formats import Scaling, TensorFormat
from bitjoule.quant.calibration.calibrator import CalibratorSpec
from bitjoule.quant.fake_quantizer import QuantizerWarning, QuantParams

__all__ = ["weight_params"]


def weight_params(
    w: Tensor, tensor_format: TensorFormat, calibrator: CalibratorSpec, *, name: str, axis: int = 0
) -> QuantParams:
    """Scales of `w` (its output channels along `axis`), shape `scaling.scale_shape(w.shape, axis)`.

    A last group may be shorter. CalibrationError for NaN or infinite weights.

    >>> import torch
    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant.calibration.calibrator import parse_calibrator
    >>> w, tf = torch.tensor([[7.0, 1.0, 14.0], [3.5, 7.0, 1.75]]), parse_tensor_format("INT4/group2")
    >>> weight_params(w, tf, parse_calibrator("minmax"), name="fc").scale.tolist()
    [[1.0, 2.0], [1.0, 0.25]]
    """
    scaling = tensor_format.scaling
    if scaling.granularity != "group":
        per_row = scaling.granularity == "channel"
        found = calibrator.make(name, axis=axis if per_row else None, capacity=None, unit="index")
        found.update(w)
        return found.range(tensor_format)
    rows = w.detach().movedim(axis, 0).reshape(w.shape[axis], -1)
    size = scaling.group_size
    whole = rows.shape[1] // size * size
    by_row = TensorFormat(tensor_format.format, _by_channel(scaling))
    blocks = [b for b in (rows[:, :whole].reshape(-1, size), rows[:, whole:]) if b.numel()]
    parts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizerWarning)  # said below, of all groups together
        for block in blocks:
            one = calibrator.make(name, axis=0, capacity=None, unit="group")
            one.update(block)
            parts.append(one.range(by_row))
    if empty := sum(int((block == 0).all(1).sum()) for block in blocks):
        warnings.warn(
            f"{name}: all values are zero in {empty} of {sum(map(len, blocks))} groups; the scale is set "
            "to 1",
            QuantizerWarning,
            stacklevel=2,
        )
    scale = np.concatenate([p.scale.reshape(len(rows), -1) for p in parts], axis=1)
    zero_point = np.concatenate([p.zero_point.reshape(len(rows), -1) for p in parts], axis=1)
    return QuantParams(tensor_format.format, scaling, scale, zero_point)


def _by_channel(scaling: Scaling) -> Scaling:
    return Scaling("channel", 0, scaling.kind, scaling.mantissa_bits, scaling.zero_point)
