"""What batch norms say of tensors behind slices and pads, as shortcuts without weights have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitjoule.network import capture, fold_batch_norm
from bitjoule.network.statistics import clipped_moments, edge_statistics, statistics_of


class Shortcut(nn.Module):
    """Every second pixel, two channels of zeros before and one behind; then pixels of zeros, two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        nn.init.uniform_(self.bn.weight, 0.5, 2.0)
        nn.init.uniform_(self.bn.bias, -1.0, 1.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.bn(self.conv(x)))
        wide = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 1))
        return wide + 1.0, functional.pad(x[:, 1:3], (1, 1, 1, 1)) + 1.0


def test_slices_and_channels_of_zeros_keep_statistics() -> None:
    torch.manual_seed(0)
    model = Shortcut().eval()
    wanted = clipped_moments(statistics_of(model.bn))
    net = fold_batch_norm(capture(model, input_shape=(1, 3, 8, 8)))
    known = edge_statistics(net)
    spatial, around, channels, border = _outputs(net.graph.nodes)
    assert torch.equal(known[spatial].mean, wanted.mean) and torch.equal(known[spatial].std, wanted.std)
    zeros = torch.zeros(1)
    assert torch.equal(known[around].mean, torch.cat([zeros, zeros, wanted.mean, zeros]))
    assert torch.equal(known[around].std, torch.cat([zeros, zeros, wanted.std, zeros]))
    assert torch.equal(known[channels].mean, wanted.mean[1:3])
    assert border not in known  # pixels of zeros change the mean


def _outputs(nodes: tuple) -> tuple[str, str, str, str]:  # type: ignore[type-arg]
    slices = [node for node in nodes if node.op == "slice"]
    pads = [node.output for node in nodes if node.op == "pad"]
    spatial = [node.output for node in slices if node.attributes["dim"] != 1]
    channels = [node.output for node in slices if node.attributes["dim"] == 1]
    return spatial[-1], pads[0], channels[-1], pads[1]
