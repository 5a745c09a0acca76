"""The starting weights of every zoo network (He et al. 2015, arXiv 1502.01852, equation 10)."""

import torch
from torch import nn

__all__ = ["he_initialize"]


@torch.no_grad()
def he_initialize(model: nn.Module) -> None:
    """Draw convolution and linear weights from N(0, 2/fan_in), in place; biases 0, batch norm the identity.

    fan_in counts the inputs of one output, so a depthwise 3x3 convolution has 9. The draws come from torch's
    default CPU generator; `zoo.build` seeds it inside `fork_rng`, so the caller's generator is untouched.

    >>> net = nn.Linear(4, 2)
    >>> he_initialize(net)
    >>> net.bias.tolist()
    [0.0, 0.0]
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.reset_parameters()
