"""Accuracy: recipes, quantization-aware training, checkpoints, evaluators for studies.

The room can be called: `bitjoule.train(net, data, "w4a4", epochs=5, seed=0)` is `train_scheme`. Names load
torch when they are first used, so the driver of a study reads an evaluator's fingerprint without it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from bitjoule.network import Network
    from bitjoule.scheme import Scheme
    from bitjoule.train.accuracy import Accuracy, measure
    from bitjoule.train.checkpoint import CheckpointError
    from bitjoule.train.loop import train
    from bitjoule.train.qat import QatConfig, prepare_qat, quantizers
    from bitjoule.train.recipes import PRESETS, Recipe, RecipeError, recipe
    from bitjoule.train.result import Diverged, Epoch, Stopped, TrainResult
    from bitjoule.train.topology import build_options
    from bitjoule.train.whole import TrainReport, train_network, train_scheme
    from bitjoule.zoo import Dataset

__all__ = [
    "PRESETS",
    "Accuracy",
    "CheckpointError",
    "Diverged",
    "Epoch",
    "QatConfig",
    "Recipe",
    "RecipeError",
    "Stopped",
    "TrainReport",
    "TrainResult",
    "build_options",
    "measure",
    "prepare_qat",
    "quantizers",
    "recipe",
    "train",
    "train_network",
    "train_scheme",
]

_HOME = {
    "PRESETS": "recipes",
    "Accuracy": "accuracy",
    "CheckpointError": "checkpoint",
    "Diverged": "result",
    "Epoch": "result",
    "QatConfig": "qat",
    "Recipe": "recipes",
    "RecipeError": "recipes",
    "Stopped": "result",
    "TrainReport": "whole",
    "TrainResult": "result",
    "build_options": "topology",
    "measure": "accuracy",
    "prepare_qat": "qat",
    "quantizers": "qat",
    "recipe": "recipes",
    "train": "loop",
    "train_network": "whole",
    "train_scheme": "whole",
}


class _Room(ModuleType):
    """This module, callable."""

    def __getattr__(self, name: str) -> Any:
        if name in _HOME:
            return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")

    def __dir__(self) -> list[str]:
        return [*__all__, *super().__dir__()]

    def __call__(
        self,
        net: Network,
        data: Dataset,
        scheme: Scheme | str = "float32",
        *,
        epochs: float = 5,
        seed: int = 0,
        recipe: Recipe | None = None,
        config: QatConfig | None = None,
        teacher: nn.Module | Network | None = None,
        workdir: str | Path | None = None,
        progress: Callable[[Epoch], object] | None = None,
    ) -> Network:
        """`train_scheme`: train `net` from the weights it has, quantized under `scheme`."""
        from bitjoule.train.whole import train_scheme

        return train_scheme(
            net,
            data,
            scheme,
            epochs=epochs,
            seed=seed,
            recipe=recipe,
            config=config,
            teacher=teacher,
            workdir=workdir,
            progress=progress,
        )


sys.modules[__name__].__class__ = _Room
