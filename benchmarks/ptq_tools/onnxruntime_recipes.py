"""ONNX Runtime's static quantization: QuantizeLinear and DequantizeLinear around every operator.

The quantized graph is run without fused integer kernels, so that the number is that of the format and not of
a processor whose 8-bit products saturate.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ptq_tools.recipe import Forward, Recipe, Refused, Task

__all__ = ["RECIPES", "export", "session"]

PERCENTILE = 99.99


def static(model: nn.Module, task: Task, method: str, options: Mapping[str, object]) -> Forward:
    """Export, fold batch norm, calibrate, quantize per channel."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    weights, activations = (
        {8: QuantType.QInt8, 4: QuantType.QInt4},
        {8: QuantType.QUInt8, 4: QuantType.QUInt4},
    )
    for bits in (task.weight_bits, task.activation_bits):
        if bits not in weights:
            raise Refused(f"its types have {sorted(weights)} bits, none has {bits}")
    with tempfile.TemporaryDirectory() as name:
        source, ready, made = (str(Path(name) / part) for part in ("float.onnx", "ready.onnx", "made.onnx"))
        export(model, task.sample, source)
        quant_pre_process(source, ready)
        quantize_static(
            ready,
            made,
            Reader(task),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=weights[task.weight_bits],
            activation_type=activations[task.activation_bits],
            calibrate_method=getattr(CalibrationMethod, method),
            extra_options=dict(options),
        )
        return session(made)


def export(model: nn.Module, sample: Tensor, path: str) -> None:
    """The float network as ONNX, any batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (sample,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=18,
            dynamo=False,
        )


class Reader:
    """Calibration batches, as the tool draws them."""

    def __init__(self, task: Task) -> None:
        self.batches: Iterator[Tensor] = iter(task.batches())

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def session(path: str) -> Forward:
    """The graph as a function of images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(images: Tensor) -> Tensor:
        return torch.from_numpy(run.run(None, {"images": images.numpy()})[0])

    return forward


def minmax(model: nn.Module, task: Task) -> Forward:
    """Ranges are the extremes."""
    return static(model, task, "MinMax", {})


def percentile(model: nn.Module, task: Task) -> Forward:
    """Ranges are percentiles, each end by its own: by default both would be as far from zero."""
    options = {"CalibPercentile": PERCENTILE, "CalibTensorRangeSymmetric": False}
    return static(model, task, "Percentile", options)


NOTE = "logits quantized"
RECIPES = (
    Recipe("static QDQ, min-max, per channel", minmax, NOTE),
    Recipe("static QDQ, percentile 99.99, per channel", percentile, NOTE),
)
