"""The L1 penalty on scales of batch norm."""

import pytest
import torch
from torch import nn

from bitjoule import zoo
from bitjoule.network import NetworkError, capture
from bitjoule.quant import QuantizerError
from bitjoule.quant.pruning import fade_channels, without_fading
from bitjoule.train import train_network
from bitjoule.train.between_steps import BetweenSteps


def small():
    return capture(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)), input_shape=(1, 3, 4, 4))


def test_the_term_is_the_sum_of_magnitudes():
    net = fade_channels(small(), 0.5)
    with torch.no_grad():
        net.module.get_parameter("1.weight").copy_(torch.tensor([1.0, -2.0, 0, 0, 0, 0, 0, 0.5]))
    found = BetweenSteps(net).penalty(0.0)
    assert found.item() == 1.75
    found.backward()
    assert net.module.get_parameter("1.weight").grad.tolist() == [0.5, -0.5, 0, 0, 0, 0, 0, 0.5]


def test_the_copy_computes_the_same_and_gives_the_penalty_back():
    net = small()
    faded = fade_channels(net)
    assert len(list(faded.module.fading.children())) == 1 and not hasattr(net.module, "fading")
    assert len(list(fade_channels(faded, 1.0).module.fading.children())) == 1  # anew, not twice
    plain = without_fading(faded)
    assert set(plain.state_dict()) == set(net.state_dict())
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    faded.eval()
    net.eval()
    assert torch.equal(faded(x), net(x))


def test_training_draws_scales_down():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    data = zoo.load_dataset("digits")
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=data.input_shape, name="tfc")
    sums = []
    for start in (net, fade_channels(net, 0.05)):
        trained = train_network(start, data, "float32", epochs=3, parent_epochs=0).network
        norms = [m for m in trained.module.modules() if isinstance(m, nn.BatchNorm1d)]
        sums.append(sum(norm.weight.detach().abs().sum().item() for norm in norms))
    torch.set_num_threads(before)
    assert sums[1] < 0.9 * sums[0]


def test_refusals():
    plain = capture(nn.Sequential(nn.Conv2d(3, 8, 1)), input_shape=(1, 3, 4, 4), name="plain")
    with pytest.raises(NetworkError) as error:
        fade_channels(plain)
    assert str(error.value) == (
        "plain has no batch norm with a scale to draw to 0; prune by score='l1' without it"
    )
    with pytest.raises(QuantizerError, match="fade_channels: strength must be finite and > 0, not 0"):
        fade_channels(small(), 0)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.fading = nn.Conv2d(3, 8, 1)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x):
            return self.norm(self.fading(x))

    with pytest.raises(NetworkError) as error:
        fade_channels(capture(Own(), input_shape=(1, 3, 4, 4)))
    assert str(error.value) == (
        "Own has a module of its own named 'fading', where penalties on channels go: rename it"
    )
