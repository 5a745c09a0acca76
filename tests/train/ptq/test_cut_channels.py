"""Channels cut by what they do on the images: the useless go, means stay in the biases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import Network, capture, fold_batch_norm
from bitjoule.network.pruning import prune_channels
from bitjoule.train.ptq import PRESETS, PtqError, PtqWarning, configured, ptq
from bitjoule.train.ptq.cut_channels import cut_by_data
from tests.train.ptq.conftest import noise


class Wide(nn.Module):
    """32 channels; half of them are large filters of inputs that are always nearly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 32, 3, padding=1)
        self.conv = nn.Conv2d(32, 32, 3, padding=1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(32, momentum=None)
        self.head = nn.Linear(32, 5)
        with torch.no_grad():
            self.stem.weight[::2, :2] = 0
            self.stem.weight[1::2, 2:] = 0
            self.stem.weight[1::2] *= 20  # of the first two colours, which are 1,000 times smaller

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.bn(self.conv(torch.relu(self.stem(x))))).mean((2, 3)))


def wide() -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    x = torch.rand(64, 4, 8, 8) * torch.tensor([1e-3, 1e-3, 1.0, 1.0]).view(1, 4, 1, 1)
    model = Wide()
    with torch.no_grad():
        model.train()(x)
    return capture(model.eval(), input_shape=(1, 4, 8, 8), name="wide").eval(), x


def test_channels_that_the_images_leave_idle_go() -> None:
    net, images = wide()
    cut = cut_by_data(fold_batch_norm(net), 0.5, images, 16)
    assert cut.graph.node("stem").parameters["weight"] == (16, 4, 3, 3)
    kept = cut.module.get_parameter("stem.weight")
    assert bool((kept[:, :2] == 0).all()) and any(note.startswith("channels cut: stem") for note in cut.notes)


@pytest.mark.parametrize("padding", [0, 1])
def test_biases_take_over_the_means(padding: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 6, 3, stride=2, padding=padding, bias=False)
    ).eval()
    net, images = capture(model, input_shape=(1, 3, 9, 9)).eval(), torch.rand(32, 3, 9, 9)
    cut = cut_by_data(net, 0.5, images, 8)
    assert cut.graph.node("2").parameters["weight"] == (6, 8, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(
            cut(images).mean((0, 2, 3)), net(images).mean((0, 2, 3)), rtol=1e-4, atol=1e-5
        )


def test_scores_are_those_of_the_columns() -> None:
    """The 8 filters of 16 that stay, by the definition."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1)).eval()
    net = capture(model, input_shape=(1, 3, 9, 9)).eval()
    images = torch.rand(32, 3, 9, 9) * torch.tensor([0.1, 1.0, 5.0]).view(1, 3, 1, 1)
    columns = F.unfold(images, 3, padding=1, stride=2).square().mean((0, 2)).sqrt()
    score = (model[0].weight.detach().abs().flatten(1) * columns).sum(1)
    wanted = score.argsort(descending=True)[:8].sort().values
    kept = cut_by_data(net, 0.5, images, 8).module.get_parameter("0.weight")
    assert torch.equal(kept, model[0].weight.detach()[wanted])


def test_images_decide_in_the_pipeline() -> None:
    net, images = wide()
    quantized = ptq(net, images, "w8a8", config=configured(PRESETS["fast"], ["prune=channels:0.5"]))
    assert quantized.graph.node("stem").parameters["weight"][0] == 16
    with pytest.warns(PtqWarning, match="calibration images look unlike the training data"):
        by_size = ptq(prune_channels(net, 0.5), images, "w8a8")  # its batch norms knew all channels
    assert noise(net, quantized, images) < 0.5 * noise(net, by_size, images)


def test_a_share_that_is_none(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError, match=r"^ptq: prune=channels:2: prune_channels: ratio must be at least 0"):
        ptq(tiny, images, "w8a8", config=configured(PRESETS["fast"], ["prune=channels:2"]))
    with pytest.raises(PtqError, match=r"^ptq: prune=channels:SHARE takes a share such as 0.3, not 'half'$"):
        ptq(tiny, images, "w8a8", config=configured(PRESETS["fast"], ["prune=channels:half"]))
