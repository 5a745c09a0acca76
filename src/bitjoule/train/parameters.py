"""Which parameter is trained how: decay, rate, latent clipping, averages, and a check for NaN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitjoule.network import Network
from bitjoule.network.captured_module import FunctionalBatchNorm
from bitjoule.quant import glorot_factor
from bitjoule.train.qat import quantizers
from bitjoule.train.recipes import Recipe

__all__ = [
    "batch_norms",
    "clip_latent",
    "latent_limits",
    "make_optimizer",
    "parameter_groups",
    "unfit_parameter",
]

BatchNorm = nn.modules.batchnorm._BatchNorm


def parameter_groups(net: Network, recipe: Recipe) -> list[dict[str, object]]:
    """Optimizer groups: weights with decay; biases, batch norm and other vectors without; quantizers apart.

    Parameters of quantizers have no decay (but PACT's clip has). `scale` is the factor on the learning rate,
    other than 1 under `glorot_lr` only, where each weight is a group.
    """
    own = {id(p): q for q in quantizers(net).values() for p in q.parameters()}
    weights: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    clips: list[nn.Parameter] = []
    for parameter in net.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in own:
            (clips if own[id(parameter)].decays else scales).append(parameter)
        else:
            (weights if parameter.dim() > 1 else plain).append(parameter)
    decay = recipe.weight_decay
    groups: list[dict[str, object]] = []
    if recipe.glorot_lr:
        for weight in weights:
            factor = 1 / glorot_factor(tuple(weight.shape))
            groups.append({"params": [weight], "weight_decay": decay, "scale": factor})
    else:
        groups.append({"params": weights, "weight_decay": decay, "scale": 1.0})
    groups.append({"params": plain, "weight_decay": 0.0, "scale": 1.0})
    groups.append({"params": scales, "weight_decay": 0.0, "scale": 1.0})
    groups.append({"params": clips, "weight_decay": decay, "scale": 1.0})
    return [group for group in groups if group["params"]]


def make_optimizer(net: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or Adam over `parameter_groups`."""
    groups = parameter_groups(net, recipe)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.rate, betas=(0.9, 0.999), eps=1e-8)
    return torch.optim.SGD(
        groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0
    )


def latent_limits(net: Network) -> list[tuple[Tensor, float]]:
    """Weights that their quantizer wants clipped after each step, each with its bound."""
    named = dict(net.named_parameters())
    return [
        (named[q.parameter], q.latent_limit)
        for q in quantizers(net).values()
        if q.parameter in named and q.latent_limit is not None
    ]


@torch.no_grad()
def clip_latent(limits: list[tuple[Tensor, float]]) -> None:
    """Clip weights to [-limit, limit], in place."""
    for weight, limit in limits:
        weight.clamp_(-limit, limit)


def batch_norms(net: Network) -> list[nn.Module]:
    """Every batch norm of a network."""
    return [m for m in net.module.modules() if isinstance(m, BatchNorm | FunctionalBatchNorm)]


def unfit_parameter(net: Network) -> str | None:
    """The first parameter or buffer that holds NaN or infinity, by name; None when all are finite."""
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None
