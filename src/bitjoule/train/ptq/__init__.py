"""Post-training quantization: from a trained network and some images, or none, to fixed scales and levels."""

from bitjoule.train.ptq.config import PRESETS, PtqConfig, PtqError, PtqWarning, configured, preset_config
from bitjoule.train.ptq.load import load_quantized
from bitjoule.train.ptq.pipeline import ptq
from bitjoule.train.ptq.report import QuantizationReport, QuantizedNetwork, TensorRow
from bitjoule.train.ptq.save import save_quantized
from bitjoule.train.ptq.verify import verify_widths

__all__ = [
    "PRESETS",
    "PtqConfig",
    "PtqError",
    "PtqWarning",
    "QuantizationReport",
    "QuantizedNetwork",
    "TensorRow",
    "configured",
    "load_quantized",
    "preset_config",
    "ptq",
    "save_quantized",
    "verify_widths",
]
