"""Weights with a scale for every group of consecutive weights of an output channel, given from outside.

Groups are those of `formats.Scaling`: the weight is flattened to (channels, everything else in C order) and
cut into runs of `group_size`; the last run may be shorter. Rounding is that of `ste.py`, each weight at the
scale of its group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import QuantizerConfig, QuantizerError, Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.ste import SteQuantizer, StraightThrough
from bitjoule.quant.uniform import scale_axis

__all__ = ["GroupedQuantizer", "row_scales", "weight_scales"]


class GroupedQuantizer(SteQuantizer):
    """Fixed scales (channels, groups); straight through inside the range of each group.

    >>> from bitjoule.formats import parse_tensor_format
    >>> fixed = QuantizerConfig("ste", range="fixed", scale=1.0)
    >>> tf = parse_tensor_format("INT4/group2")
    >>> q = GroupedQuantizer(tf, fixed, "weight", name="fc.weight", shape=(1, 3))
    >>> q.scale.copy_(torch.tensor([[1.0, 0.25]])).tolist(), q(torch.tensor([[1.3, 9.0, 0.3]])).tolist()
    ([[1.0, 0.25]], [[1.0, 7.0, 0.25]])
    """

    trains = "fixed scales of weights in groups, in any Format that ste trains"

    def __init__(
        self,
        tensor_format: TensorFormat,
        config: QuantizerConfig,
        role: Role,
        *,
        name: str,
        shape: tuple[int, ...],
        parameter: str | None = None,
        axis: int = 0,
    ) -> None:
        if config.range != "fixed":
            raise QuantizerError(
                f"{name}: scales in groups are given from outside; use range='fixed', not {config.range!r}"
            )
        super().__init__(tensor_format, config, role, name=name, parameter=parameter, axis=axis)
        self.scale_shape = tensor_format.scaling.scale_shape(shape, axis)
        self.setup()

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        if role != "weight" or scaling.granularity != "group":
            return False
        by_channel = replace(scaling, granularity="channel", group_size=0)
        return SteQuantizer.accepts(TensorFormat(tensor_format.format, by_channel), role)

    def quantize(self, x: Tensor) -> Tensor:
        scale = weight_scales(self, x)
        one = torch.ones((), dtype=scale.dtype, device=scale.device)
        levels = StraightThrough.apply(x / scale, one, None, self.bounds, self.axis, self.levels)  # type: ignore[no-untyped-call]
        return cast(Tensor, levels * scale).to(x.dtype)


def row_scales(quantizer: FakeQuantizer, n: int) -> Tensor:
    """The scales of a weight whose channels have `n` weights, as its rows need them: (), (channels,), or
    (channels, n) where they stand for groups.
    """
    scale = quantizer.scale_now().detach()
    if scale.dim() < 2:
        return scale
    return scale.repeat_interleave(quantizer.tensor_format.scaling.group_size, 1)[:, :n]


def weight_scales(quantizer: FakeQuantizer, weight: Tensor) -> Tensor:
    """The scales of `weight`, shaped to broadcast against it: one, one per channel, or one per weight."""
    rows = weight.detach().movedim(quantizer.axis, 0)
    scale = row_scales(quantizer, rows[0].numel())
    if scale.dim() < 2:
        return scale_axis(scale, weight.dim(), quantizer.axis)
    return scale.view(rows.shape).movedim(0, quantizer.axis)
