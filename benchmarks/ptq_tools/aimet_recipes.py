"""AIMET's simulated quantization: batch norm folded, ranges by a scheme, AdaRound where a recipe says so."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from ptq_tools.recipe import Forward, Recipe, Refused, Task, calibrate

__all__ = ["RECIPES"]

ADAROUND_STEPS = 1000
MOST_BITS = 4
"""Widths of weights that are worth its time."""
PERCENTILE = 99.99
MIN_MAX = "tf"
"""Its name of extremes as ranges."""


def simulated(model: nn.Module, task: Task, ranges: str, adaround: bool) -> Forward:
    """Prepare, fold, round, simulate, calibrate."""
    import aimet_torch
    from aimet_torch.batch_norm_fold import fold_all_batch_norms
    from aimet_torch.model_preparer import prepare_model
    from aimet_torch.quantsim import QuantizationSimModel

    folder = Path(aimet_torch.__file__).parent / "common" / "quantsim_config"
    config = str(folder / "default_config_per_channel.json")
    prepared = prepare_model(model)
    fold_all_batch_norms(prepared, tuple(task.sample.shape), dummy_input=task.sample)
    with tempfile.TemporaryDirectory() as scratch:
        if adaround:
            prepared = rounded(prepared, task, config, scratch)
        sim = QuantizationSimModel(
            prepared,
            dummy_input=task.sample,
            quant_scheme=ranges,
            default_output_bw=task.activation_bits,
            default_param_bw=task.weight_bits,
            config_file=config,
        )
        if adaround:
            sim.set_and_freeze_param_encodings(encoding_path=str(Path(scratch) / "rounded.encodings"))
    if ranges == "percentile":
        sim.set_percentile_value(PERCENTILE)
    with torch.no_grad():
        sim.compute_encodings(lambda net, _: calibrate(net, task), None)
    made: nn.Module = sim.model
    return made.eval()


def rounded(model: nn.Module, task: Task, config: str, scratch: str) -> nn.Module:
    """AdaRound on the calibration images."""
    from aimet_torch.adaround.adaround_weight import Adaround, AdaroundParameters

    batches = list(task.batches())
    made: nn.Module = Adaround.apply_adaround(
        model,
        task.sample,
        AdaroundParameters(batches, len(batches), default_num_iterations=ADAROUND_STEPS),
        path=scratch,
        filename_prefix="rounded",
        default_param_bw=task.weight_bits,
        default_quant_scheme=MIN_MAX,
        default_config_file=config,
    )
    return made


def default(model: nn.Module, task: Task) -> Forward:
    """Ranges are the extremes."""
    return simulated(model, task, MIN_MAX, adaround=False)


def percentile(model: nn.Module, task: Task) -> Forward:
    """Ranges are percentiles."""
    return simulated(model, task, "percentile", adaround=False)


def adaround(model: nn.Module, task: Task) -> Forward:
    """AdaRound, ranges of activations are percentiles."""
    if task.weight_bits > MOST_BITS:
        raise Refused(f"not run: rounding matters below {MOST_BITS + 1} bits of weights")
    return simulated(model, task, "percentile", adaround=True)


NOTE = "logits quantized, biases float"
RECIPES = (
    Recipe("min-max, per channel", default, NOTE),
    Recipe("percentile 99.99, per channel", percentile, NOTE),
    Recipe("percentile 99.99, AdaRound of 1,000 steps", adaround, NOTE),
)
