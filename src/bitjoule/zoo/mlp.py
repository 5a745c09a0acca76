"""TFC, SFC and LFC: the fully connected MNIST networks of FINN (Umuroglu et al. 2017, arXiv 1612.07119).

Three hidden layers of 64, 256 or 1024 neurons, each linear (no bias), batch norm, activation; then a linear
classifier without bias. The public recipe is Xilinx/brevitas `bnn_pynq`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bitjoule.zoo.activation import activation as activation_module
from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = ["MultiLayerPerceptron", "lfc", "sfc", "tfc"]


class MultiLayerPerceptron(nn.Module):
    """Hidden layers `hidden1`, `hidden2`, ... and `classifier`; flattens its input itself.

    Input (N, ...) with `inputs` values per image, output (N, classes).
    """

    def __init__(
        self, inputs: int, hidden: tuple[int, ...], classes: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        fan_in = inputs
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, neurons in enumerate(hidden, start=1):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts["linear"] = nn.Linear(fan_in, neurons, bias=False)
            parts["bn"] = nn.BatchNorm1d(neurons)
            parts["act"] = activation_module(activation)
            if dropout > 0:
                parts["dropout"] = nn.Dropout(dropout)
            layers[f"hidden{number}"] = nn.Sequential(parts)
            fan_in = neurons
        self.hidden = nn.Sequential(layers)
        self.classifier = nn.Linear(fan_in, classes, bias=False)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(x, 1)
        x = self.hidden(x)
        logits: Tensor = self.classifier(x)
        return logits


def tfc(
    *,
    inputs: int = 784,
    classes: int = 10,
    width: float = 1.0,
    activation: str = "relu",
    dropout: float = 0.0,
) -> MultiLayerPerceptron:
    """Return TFC: 3 x 64 neurons, 59,008 MACs. `bnn_pynq` trains it with `dropout=0.2`.

    >>> tfc(inputs=64)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    check_options("tfc", {"inputs": inputs, "classes": classes, "width": width, "dropout": dropout})
    return MultiLayerPerceptron(inputs, (scaled(64, width),) * 3, classes, activation, dropout)


def sfc(
    *,
    inputs: int = 784,
    classes: int = 10,
    width: float = 1.0,
    activation: str = "relu",
    dropout: float = 0.0,
) -> MultiLayerPerceptron:
    """Return SFC: 3 x 256 neurons, 334,336 MACs."""
    check_options("sfc", {"inputs": inputs, "classes": classes, "width": width, "dropout": dropout})
    return MultiLayerPerceptron(inputs, (scaled(256, width),) * 3, classes, activation, dropout)


def lfc(
    *,
    inputs: int = 784,
    classes: int = 10,
    width: float = 1.0,
    activation: str = "relu",
    dropout: float = 0.0,
) -> MultiLayerPerceptron:
    """Return LFC: 3 x 1024 neurons, 2,910,208 MACs."""
    check_options("lfc", {"inputs": inputs, "classes": classes, "width": width, "dropout": dropout})
    return MultiLayerPerceptron(inputs, (scaled(1024, width),) * 3, classes, activation, dropout)
