"""Which parameter is trained how: decay, rate, latent clipping, averages, and a check for NaN."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from bitjoule.network import Network
from bitjoule.network.captured_module import FunctionalBatchNorm
from bitjoule.quant import FakeQuantizer, glorot_factor
from bitjoule.train.qat import quantizers
from bitjoule.train.recipes import Recipe

__all__ = [
    "adam_over",
    "batch_norms",
    "binary_weights",
    "clip_latent",
    "holds_weights",
    "latent_limits",
    "make_optimizer",
    "optimizer_over",
    "parameter_groups",
    "thresholds",
    "unfit_parameter",
]

BatchNorm = nn.modules.batchnorm._BatchNorm


def parameter_groups(
    net: Network, recipe: Recipe, without: Collection[nn.Parameter] = ()
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Optimizer groups of the network and of its quantizers, less the parameters `without`.

    Weights have decay; biases, batch norm and other vectors none. Parameters of quantizers have none (but
    clips that decay have), unless the recipe has a `quantizer_decay`. `scale` is the factor on the learning
    rate: other than 1 under `glorot_lr`, where each weight is a group, and where quantizers have a rate of
    their own.
    """
    left_out = {id(parameter) for parameter in without}
    own = {id(p): q for q in quantizers(net).values() for p in q.parameters()}
    weights: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    learned: list[tuple[nn.Parameter, FakeQuantizer]] = []
    for parameter in net.parameters():
        if not parameter.requires_grad or id(parameter) in left_out:
            continue
        if id(parameter) in own:
            learned.append((parameter, own[id(parameter)]))
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
    return [group for group in groups if group["params"]], _quantizer_groups(learned, recipe)


def _quantizer_groups(
    learned: list[tuple[nn.Parameter, FakeQuantizer]], recipe: Recipe
) -> list[dict[str, object]]:
    """One group of scales and one of clips that decay; more where weights and activations differ in rate."""
    rates = {"weight": recipe.weight_quantizer_lr, "activation": recipe.activation_quantizer_lr}
    groups: list[dict[str, object]] = []
    for decays in (False, True):
        by_rate: dict[float | None, list[nn.Parameter]] = {}
        for parameter, quantizer in learned:
            if quantizer.decays == decays:
                by_rate.setdefault(rates[quantizer.role], []).append(parameter)
        decay = recipe.quantizer_decay
        if decay is None:
            decay = recipe.weight_decay if decays else 0.0
        for rate, parameters in by_rate.items():
            scale = 1.0 if rate is None else rate / recipe.rate
            groups.append({"params": parameters, "weight_decay": decay, "scale": scale})
    return groups


def make_optimizer(net: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or Adam over every group of `parameter_groups`; a training may have more (`optimizers.py`)."""
    groups, learned = parameter_groups(net, recipe)
    return optimizer_over(groups + learned, recipe)


def optimizer_over(groups: list[dict[str, object]], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's SGD or Adam over the groups given."""
    if recipe.optimizer == "adam":
        return adam_over(groups, recipe.rate)
    return torch.optim.SGD(
        groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0
    )


def adam_over(groups: list[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    """Adam over the groups given."""
    return torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)


def binary_weights(net: Network) -> list[nn.Parameter]:
    """The parameters that quantizers of one bit read, each once."""
    named = dict(net.named_parameters())
    found = {
        id(named[q.parameter]): named[q.parameter]
        for q in quantizers(net).values()
        if q.role == "weight" and q.parameter in named and q.tensor_format.format.bits == 1
    }
    return list(found.values())


def thresholds(net: Network) -> list[nn.Parameter]:
    """log2 t of every `tqt` quantizer that learns it."""
    return [
        parameter
        for q in quantizers(net).values()
        if q.method == "tqt"
        for parameter in q.parameters()
        if parameter.requires_grad
    ]


def holds_weights(net: Network) -> bool:
    """Whether quantizers hold some weights in place while others train, of which an average makes no sense:
    `inq`, and `freeze_oscillations`.
    """
    return any(q.method == "inq" or q.config.freeze_oscillations for q in quantizers(net).values())


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
