"""Small networks the tests of this room capture: one trait each."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "BatchFixed",
    "Branch",
    "Cumulative",
    "InPlaceThroughView",
    "ModeDependent",
    "NormalizedByHand",
    "Residual",
    "SharedRelu",
    "Spectral",
    "TwoInputs",
    "UnsupportedTwice",
    "alike",
    "leaves",
]


class SharedRelu(nn.Module):
    """One ReLU called three times, functional pooling and dropout, a parameter nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.unused = nn.Parameter(torch.ones(3))
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        z = self.bn2(self.conv2(y))
        z += y
        z = self.relu(F.max_pool2d(self.relu(z), 2))
        z = F.dropout(z, 0.3, self.training)
        return self.fc(z.view(z.shape[0], -1))


class Residual(nn.Module):
    """conv-BN-ReLU-conv-BN + x, ReLU, global average, classifier."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.pool(self.relu2(y + x)), 1))


class TwoInputs(nn.Module):
    """Two inputs, a dict of outputs, a concat and a scaled add."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(3, 4)

    def forward(self, image: Tensor, context: Tensor) -> dict[str, Tensor | list[Tensor]]:
        a, b = self.left(image), self.right(context)
        joined = torch.cat([a, b], dim=1)
        return {"sum": torch.add(a, b, alpha=2), "parts": [joined[:, 1:5], 1 - joined]}


class NormalizedByHand(nn.BatchNorm2d):
    """A batch norm with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps
        )


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        if x.sum() > 0:
            return x
        return -x


class Cumulative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1) + torch.cumsum(x, 1)


class Spectral(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).real


class UnsupportedTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Linear(4, 4), Cumulative())
        self.spectral = Spectral()

    def forward(self, x: Tensor) -> Tensor:
        return self.spectral(self.stages(x))


class ModeDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if self.training else x * 3


class BatchFixed(nn.Module):
    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        return x.view(self.batch, 4) * 2


class InPlaceThroughView(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        flat = x.view(x.size(0), -1)
        x += 1
        return flat * 2


def leaves(outputs: object) -> list[Tensor]:
    """All tensors of nested outputs."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def alike(left: object, right: object) -> float:
    """Largest difference between two nested outputs of one structure."""
    a, b = leaves(left), leaves(right)
    assert len(a) == len(b) and all(x.shape == y.shape for x, y in zip(a, b, strict=True))
    return max(float((x.detach() - y.detach()).abs().max()) for x, y in zip(a, b, strict=True))
