"""Scales of weights and activations: a calibrator's range, put into the quantizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.calibration import CalibrationError, parse_calibrator, weight_params
from bitjoule.quant.fake_quantizer import QuantizerWarning, QuantParams
from bitjoule.quant.rounding import GroupScales
from bitjoule.train.ptq.config import PtqConfig, PtqError
from bitjoule.train.ptq.place import is_frozen

__all__ = ["activation_calibrator", "group_rescale", "put", "range_activation", "range_weight"]

_WIDE_BITS = 7


def activation_calibrator(config: PtqConfig, bits: int) -> str:
    """The calibrator of an activation of so many bits, by name.

    >>> activation_calibrator(PtqConfig(), 8), activation_calibrator(PtqConfig(), 4)
    ('percentile(99.999)', 'mse(2.4)')
    """
    if config.activation_range != "auto":
        return config.activation_range
    return "percentile(99.999)" if bits >= _WIDE_BITS else "mse(2.4)"


@torch.no_grad()
def put(quantizer: FakeQuantizer, params: QuantParams) -> None:
    """Give a quantizer of fixed scale its scale and zero-point."""
    quantizer.scale_now().copy_(torch.from_numpy(params.scale).reshape(quantizer.scale_shape))
    quantizer.zero_point_now().copy_(torch.from_numpy(params.zero_point).reshape(quantizer.scale_shape))


def range_weight(quantizer: FakeQuantizer, weight: Tensor, config: PtqConfig) -> tuple[str, list[str]]:
    """Find the scales of `weight`; what found them, and notes (dead channels)."""
    if not is_frozen(quantizer):
        return _own_range(quantizer, weight)
    integer = quantizer.tensor_format.format.kind != "float"
    name = config.weight_range if integer else "minmax"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", QuantizerWarning)
        try:
            params = weight_params(
                weight.detach(),
                quantizer.tensor_format,
                parse_calibrator(name),
                name=quantizer.name,
                axis=quantizer.axis,
            )
        except CalibrationError as error:
            raise PtqError(f"ptq: weight_range: {error}") from None
    put(quantizer, params)
    return name, [str(item.message) for item in caught]


def group_rescale(quantizer: FakeQuantizer, config: PtqConfig) -> GroupScales | None:
    """How GPTQ finds the scale of a group from its weights as they are by then; None without groups.

    Section 4.2 of `ptq.md`. The calibrator is that of the weights; a group of zeros has scale 1.
    """
    tf = quantizer.tensor_format
    if tf.scaling.granularity != "group" or not is_frozen(quantizer):
        return None
    by_row = TensorFormat(tf.format, replace(tf.scaling, granularity="channel", group_size=0))
    calibrator = parse_calibrator(config.weight_range)

    def scales(group: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QuantizerWarning)  # said when the float weights were ranged
            found = weight_params(group.float(), by_row, calibrator, name=quantizer.name)
        return torch.from_numpy(found.scale)

    return GroupScales(tf.scaling.group_size, scales)


def range_activation(
    quantizer: FakeQuantizer, batches: Iterable[Tensor], config: PtqConfig, seed: int
) -> tuple[str, list[str]]:
    """Find the scale of an activation from its float values; what found it, and notes (constant zeros).

    Raises:
        PtqError: the calibrator refuses the values (NaN), or needs statistics and gets values.
    """
    if not is_frozen(quantizer):
        return _own_range(quantizer, torch.cat([b.flatten()[: 1 << 16] for b in batches]))
    fmt = quantizer.tensor_format.format
    name = activation_calibrator(config, fmt.bits) if fmt.kind != "float" else "minmax"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", QuantizerWarning)
        try:
            calibrator = parse_calibrator(name).make(quantizer.name, capacity=config.sample, seed=seed)
            for batch in batches:
                calibrator.update(batch)
            params = calibrator.range(quantizer.tensor_format)
        except CalibrationError as error:
            raise PtqError(f"ptq: {error}") from None
    put(quantizer, params)
    return name, [str(item.message) for item in caught]


def _own_range(quantizer: FakeQuantizer, values: Tensor) -> tuple[str, list[str]]:
    if quantizer.has_range:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", QuantizerWarning)
            quantizer.initialize(values)
        return quantizer.method, [str(item.message) for item in caught]
    return "fixed", []
