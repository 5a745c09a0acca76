"""From a range [low, high] to scale and zero-point: the rule that all calibrators share (`ptq.md` section 3).

Signed Formats are symmetric with one threshold, unsigned ones have their upper end, `+zp` has both ends. A
`*pot` scale is snapped up, so that the threshold never shrinks.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch
from torch import Tensor

from bitjoule.formats import SuccessiveVector, TensorFormat, parse_format
from bitjoule.quant.fake_quantizer import QuantizerWarning, QuantParams
from bitjoule.quant.observers import scale_of_range

__all__ = ["CalibrationError", "activation_format", "params_of_range", "scales_of_range", "unscaled"]

_UNSCALED = ("FLOAT32", "FP16", "BF16")
_SMALLEST = 2.0**-126  # the least normal float32


class CalibrationError(ValueError):
    """A range that cannot be found; the text names the tensor and the remedy."""


def unscaled(tensor_format: TensorFormat) -> bool:
    """Whether no data decides the scale: it is fixed, or a float format that needs none.

    >>> from bitjoule.formats import parse_tensor_format
    >>> unscaled(parse_tensor_format("MOONS4")), unscaled(parse_tensor_format("INT4"))
    (True, False)
    """
    f = tensor_format.format
    return f.fixed_scale is not None or (f.name in _UNSCALED and str(tensor_format) == f.name)


def scales_of_range(low: Tensor, high: Tensor, tensor_format: TensorFormat) -> tuple[Tensor, Tensor]:
    """Scale and zero-point of [low, high] (any shape), float64; a scale of 0 where nothing is to be held.

    A range too small for a float32 scale gets the least normal one. Successive vectors have the power of two
    above the largest magnitude as their normaliser, whatever the calibrator found. Raises CalibrationError
    for block formats, which choose the scales of their blocks themselves.

    >>> from bitjoule.formats import parse_tensor_format
    >>> scales_of_range(torch.tensor(-1.0), torch.tensor(7.0), parse_tensor_format("INT4"))[0].item()
    1.0
    """
    low, high = low.double(), high.double()
    f = tensor_format.format
    if f.kind == "block":
        raise CalibrationError(
            f"{tensor_format}: blocks choose their own scale; quantize them without a calibrator"
        )
    if unscaled(tensor_format):
        return torch.full_like(low, f.fixed_scale or 1.0), torch.zeros_like(low)
    if isinstance(f, SuccessiveVector):
        largest = torch.maximum(low.abs(), high.abs())
        rows = f.row_scale(largest.reshape(-1, 1).numpy()).reshape(tuple(low.shape))
        return torch.where(largest > 0, torch.from_numpy(rows), 0.0), torch.zeros_like(low)
    if f.max_level <= 0:
        raise CalibrationError(f"{tensor_format}: {f.name} has no positive level; use BIPOLAR")
    scale, zero_point = scale_of_range(low, high, tensor_format)
    return torch.where(scale > 0, scale.float().double().clamp_min(_SMALLEST), 0.0), zero_point


def params_of_range(low: Tensor, high: Tensor, tensor_format: TensorFormat, name: str) -> QuantParams:
    """The same as `QuantParams`, the scale in float32; scale 1 and a `QuantizerWarning` where it would be 0.

    `low` and `high` have the shape of the scales: () or (channels,) or (channels, groups).
    """
    scale, zero_point = scales_of_range(low, high, tensor_format)
    empty = scale <= 0
    if bool(empty.any()):
        which = f" in {int(empty.sum())} of {scale.numel()} channels" if scale.dim() else ""
        warnings.warn(
            f"{name}: all values are zero (or none is positive){which}; the scale is set to 1",
            QuantizerWarning,
            stacklevel=3,
        )
        scale = torch.where(empty, 1.0, scale)
    return QuantParams(
        tensor_format.format,
        tensor_format.scaling,
        scale.to(torch.float32).numpy().copy(),
        zero_point.to(torch.int64).numpy().astype(np.int64),
    )


def activation_format(
    tensor_format: TensorFormat, lowest: float, asymmetric_below_bits: int = 5
) -> TensorFormat:
    """What an activation in INTb or UINTb becomes once its least value is known.

    Non-negative: UINTb. With negative values and below `asymmetric_below_bits` bits: a zero-point, because
    half of so few levels is too much to lose (ResNet-56 at 4 bits: 46.4 % symmetric, 68.4 % asymmetric,
    `ptq.md` section 3). UINTb that sees negative values: INTb. Anything else, narrow ranges and Formats with
    a zero-point stay as they are.

    >>> from bitjoule.formats import parse_tensor_format
    >>> [str(activation_format(parse_tensor_format(t), low))
    ...  for t, low in (("INT8", 0.0), ("INT4", -1.0), ("UINT8", -1.0), ("POT4", -1.0))]
    ['UINT8', 'INT4+zp', 'INT8', 'POT4']
    """
    f, scaling = tensor_format.format, tensor_format.scaling
    if f.name not in (f"INT{f.bits}", f"UINT{f.bits}") or scaling.zero_point:
        return tensor_format
    if lowest >= 0:
        return TensorFormat(parse_format(f"UINT{f.bits}"), scaling)
    narrow = f.bits < asymmetric_below_bits
    return TensorFormat(parse_format(f"INT{f.bits}"), dataclasses.replace(scaling, zero_point=narrow))
