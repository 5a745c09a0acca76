"""Calibration: from the values of a tensor, or from batch-norm statistics, to its scale and zero-point.

>>> from bitjoule.formats import parse_tensor_format
>>> import torch
>>> c = parse_calibrator("mse(2.4)").make("conv1.out")
>>> c.update(torch.linspace(0, 15, 16)); c.range(parse_tensor_format("UINT4")).scale
array(1., dtype=float32)
"""

from bitjoule.quant.calibration.aciq import clip_error, optimal_clip
from bitjoule.quant.calibration.batch_norm import BatchNormRange, added, statistics_range
from bitjoule.quant.calibration.calibrator import CALIBRATORS, Calibrator, CalibratorSpec, parse_calibrator
from bitjoule.quant.calibration.fake import fake_quantized
from bitjoule.quant.calibration.scale_rule import CalibrationError, activation_format, params_of_range
from bitjoule.quant.calibration.weights import weight_params

__all__ = [
    "CALIBRATORS",
    "BatchNormRange",
    "CalibrationError",
    "Calibrator",
    "CalibratorSpec",
    "activation_format",
    "added",
    "clip_error",
    "fake_quantized",
    "optimal_clip",
    "params_of_range",
    "parse_calibrator",
    "statistics_range",
    "weight_params",
]
