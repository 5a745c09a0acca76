"""What post-training quantization did: a row per tensor, seconds, notes; and the Network with it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.grouped import row_scales
from bitjoule.train.ptq.config import PtqConfig

__all__ = ["QuantizationReport", "QuantizedNetwork", "TensorRow", "activation_row", "sqnr_db", "weight_row"]


@dataclass(frozen=True)
class TensorRow:
    """One tensor: Format, scales (smallest and largest), zero-point, share clipped, SQNR in dB, method.

    output_sqnr_db
        of a layer's result against the float network's, with everything before it quantized; NaN elsewhere.
    """

    name: str
    role: str
    format: str
    scale_low: float
    scale_high: float
    zero_point: int
    clipped: float
    sqnr_db: float
    method: str
    output_sqnr_db: float = math.nan


@dataclass(frozen=True)
class QuantizationReport:
    """`rows` in running order; `seconds` by step; `notes` in words; accuracies where `evaluate` was given."""

    scheme: str
    preset: str
    config: PtqConfig
    seed: int
    images: int
    rows: tuple[TensorRow, ...]
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    float_accuracy: float | None = None
    accuracy: float | None = None

    @property
    def worst_layer(self) -> TensorRow | None:
        """The layer whose result is farthest from the float network's, None without images."""
        rows = [row for row in self.rows if not math.isnan(row.output_sqnr_db)]
        return min(rows, key=lambda row: row.output_sqnr_db) if rows else None

    def to_json(self) -> dict[str, Any]:
        """A JSON document; numbers that are not finite become null."""
        rows = [
            {
                key: (None if isinstance(value, float) and not math.isfinite(value) else value)
                for key, value in dataclasses.asdict(row).items()
            }
            for row in self.rows
        ]
        return {
            "scheme": self.scheme,
            "preset": self.preset,
            "config": self.config.to_json(),
            "config_fingerprint": self.config.fingerprint,
            "seed": self.seed,
            "images": self.images,
            "float_accuracy": self.float_accuracy,
            "accuracy": self.accuracy,
            "seconds": {key: round(value, 3) for key, value in self.seconds.items()},
            "notes": list(self.notes),
            "tensors": rows,
        }

    def __str__(self) -> str:
        head = ("tensor", "format", "scale", "clipped", "SQNR dB", "result dB", "method")
        table = [head]
        for row in self.rows:
            same = row.scale_low == row.scale_high
            scale = f"{row.scale_low:.3g}" if same else f"{row.scale_low:.3g} .. {row.scale_high:.3g}"
            result = "" if math.isnan(row.output_sqnr_db) else f"{row.output_sqnr_db:.1f}"
            clipped = f"{100 * row.clipped:.2f} %"
            table.append((row.name, row.format, scale, clipped, f"{row.sqnr_db:.1f}", result, row.method))
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table]
        steps = ", ".join(f"{key} {value:.1f} s" for key, value in self.seconds.items())
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join(
            (f"{self.scheme}, preset {self.preset}, {self.images} images", *lines, steps, *notes)
        )


class QuantizedNetwork(Network):
    """A Network with the report of the quantization that made it."""

    def __init__(self, net: Network, report: QuantizationReport) -> None:
        super().__init__(
            net.graph, net.module, assignment=net.assignment, notes=net.notes, quantized=net.quantized
        )
        self.quantization_report = report

    def clone(self) -> QuantizedNetwork:
        """An independent copy, report and all."""
        return QuantizedNetwork(super().clone(), self.quantization_report)


def sqnr_db(reference: Tensor, noisy: Tensor) -> float:
    """10 log10 of signal over noise power; inf without noise, NaN without signal.

    >>> round(sqnr_db(torch.tensor([1.0, 2.0]), torch.tensor([1.1, 2.0])), 2)
    26.99
    """
    signal = float(reference.double().square().sum())
    noise = float((noisy.double() - reference.double()).square().sum())
    if signal == 0:
        return math.nan
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def weight_row(quantizer: FakeQuantizer, original: Tensor, rounded: Tensor, method: str) -> TensorRow:
    """The row of a weight; `original` and `rounded` of one shape."""
    rows = original.detach().movedim(quantizer.axis, 0).flatten(1)
    scale = row_scales(quantizer, rows.shape[1])
    u = rows / (scale[:, None] if scale.dim() == 1 else scale)
    return _row(quantizer, original, rounded, u, method)


def activation_row(quantizer: FakeQuantizer, values: Tensor, method: str) -> TensorRow:
    """The row of an activation from some of its float values."""
    with torch.no_grad():
        rounded = quantizer(values)
    u = values / quantizer.scale_now() + quantizer.zero_point_now()
    return _row(quantizer, values, rounded, u, method)


def _row(q: FakeQuantizer, x: Tensor, rounded: Tensor, u: Tensor, method: str) -> TensorRow:
    f = q.tensor_format.format
    scale = q.scale_now().detach().double()
    outside = float(((u < f.min_level - 0.5) | (u > f.max_level + 0.5)).double().mean()) if u.numel() else 0.0
    return TensorRow(
        name=q.name,
        role=q.role,
        format=str(q.tensor_format),
        scale_low=float(scale.min()),
        scale_high=float(scale.max()),
        zero_point=int(q.zero_point_now().max()),
        clipped=outside if f.kind == "integer" else 0.0,
        sqnr_db=sqnr_db(x, rounded),
        method=method,
    )
