"""What every calibrator keeps of the tensors it has seen: extremes per row, and that all of it is finite."""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.scale_rule import CalibrationError, params_of_range
from bitjoule.quant.fake_quantizer import QuantParams
from bitjoule.quant.observers import extremes

__all__ = ["Seen"]


class Seen:
    """Extremes of one tensor over all batches; a row is a channel of `axis`, or the whole tensor.

    low, high
        float64 (rows,); empty before the first batch.
    unit
        what index of axis 0 is called in errors.

    >>> seen = Seen("conv1", axis=1)
    >>> seen.take(torch.tensor([[1.0, -2.0], [3.0, 4.0]])).shape, seen.high.tolist()
    (torch.Size([2, 2]), [3.0, 4.0])
    """

    def __init__(self, name: str, axis: int | None, unit: str = "image") -> None:
        self.name, self.axis, self.unit = name, axis, unit
        self.images = 0
        self.low = self.high = torch.zeros(0, dtype=torch.float64)

    def take(self, x: Tensor) -> Tensor:
        """The rows (rows, values) of `x`, whose axis 0 counts images; CalibrationError unless all finite."""
        x = x.detach()
        if not x.is_floating_point():
            raise CalibrationError(f"{self.name}: calibration needs floating-point values, not {x.dtype}")
        if x.dtype not in (torch.float32, torch.float64):
            x = x.float()
        if self.axis is None:
            rows = x.reshape(1, -1)
        elif not 0 <= self.axis < x.dim():
            raise CalibrationError(
                f"{self.name}: has no axis {self.axis} in a tensor of shape {tuple(x.shape)}"
            )
        else:
            rows = x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1)
        if self.images and len(rows) != len(self.low):
            raise CalibrationError(
                f"{self.name}: had {len(self.low)} channels along axis {self.axis}, now {len(rows)}"
            )
        if rows.numel() == 0:
            return rows
        low, high = (v.double() for v in extremes(rows, axis=0))
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            self._refuse(x)
        first = self.images == 0
        self.low = low if first else torch.minimum(self.low, low)
        self.high = high if first else torch.maximum(self.high, high)
        self.images += x.shape[0] if x.dim() else 1
        return rows

    @property
    def magnitude(self) -> Tensor:
        """Largest magnitude per row, float64."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def checked(self, tensor_format: TensorFormat) -> None:
        """CalibrationError unless there were values, in as many rows as the Format has scales."""
        if self.images == 0:
            raise CalibrationError(f"{self.name}: no values were seen; run calibration images through it")
        per_row = tensor_format.scaling.granularity != "tensor"
        if per_row != (self.axis is not None):
            seen = "the whole tensor" if self.axis is None else f"the channels of axis {self.axis}"
            asked = "axis=None" if self.axis is not None else "axis="
            raise CalibrationError(
                f"{self.name}: the calibrator saw {seen}, but {tensor_format} has "
                f"{'a scale per channel' if per_row else 'one scale'}; make it with {asked}"
            )

    def params(self, low: Tensor, high: Tensor, tensor_format: TensorFormat) -> QuantParams:
        """The scales of ranges (rows,), of shape () when there is one row for the whole tensor."""
        if self.axis is None:
            low, high = low.reshape(()), high.reshape(())
        return params_of_range(low, high, tensor_format, self.name)

    def _refuse(self, x: Tensor) -> None:
        bad = ~torch.isfinite(x.reshape(x.shape[0] if x.dim() else 1, -1))
        index = int(bad.any(1).nonzero()[0])
        raise CalibrationError(
            f"{self.name}: {self.unit} {self.images + index} has {int(bad[index].sum())} NaN or infinite "
            f"values; remove the {self.unit}, or mend the network that makes them"
        )
