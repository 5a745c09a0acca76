"""What tells one training from another: recipe, seed, data, network, scheme, teacher and first weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import cast

import torch
from torch import nn

from bitjoule.network import Network
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.repairs import Stage
from bitjoule.train.recipes import Recipe
from bitjoule.zoo.data import Dataset

__all__ = ["digest", "identity", "quantizer_settings", "root_of"]


def identity(
    net: Network,
    data: Dataset,
    recipe: Recipe,
    seed: int,
    teacher: nn.Module | Network | None,
    stage: Stage | None,
) -> dict[str, object]:
    """What makes a training this one and no other, as JSON; a checkpoint of another identity is refused."""
    described: dict[str, object] = {
        "recipe": recipe.to_json(),
        "seed": seed,
        "data": data.content_key,
        "network": net.graph.hash,
        "scheme": [str(net.scheme), quantizer_settings(net.module)],
        "teacher": None if teacher is None else [digest(teacher), quantizer_settings(root_of(teacher))],
        "starting weights": digest(net),
    }
    if stage is not None:
        described["stage"] = asdict(stage)
    return cast(dict[str, object], json.loads(json.dumps(described)))


def quantizer_settings(root: nn.Module) -> list[object]:
    """Path, Format and settings of every fake quantizer."""
    return [
        [path, str(module.tensor_format), vars(module.config)]
        for path, module in root.named_modules()
        if isinstance(module, FakeQuantizer)
    ]


def digest(net: nn.Module | Network) -> str:
    """SHA-256 of a state dict, names and bytes."""
    found = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def root_of(net: nn.Module | Network) -> nn.Module:
    """The module with the parameters."""
    return net.module if isinstance(net, Network) else net
