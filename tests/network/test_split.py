"""Outlier channel splitting: the vector, growth of the Workload, ranges, refusals."""

import pytest
import torch
from torch import nn

from bitjoule.network import NetworkError, capture
from bitjoule.network.split import halves, outliers, split_outliers
from tests.network.models import alike


def test_golden_vector() -> None:
    # ptq.md section 2: the roundings of the parts add to the rounding of w
    weight = torch.tensor([3.0, -2.2, 0.4], dtype=torch.float64)
    low, high = halves(weight, 0.5)
    assert low.tolist() == pytest.approx([1.375, -1.225, 0.075])
    assert high.tolist() == pytest.approx([1.625, -0.975, 0.325])
    levels = torch.round(low / 0.5), torch.round(high / 0.5)
    assert [part.tolist() for part in levels] == [[3, -2, 0], [3, -2, 1]]
    assert (levels[0] + levels[1]).tolist() == torch.round(weight / 0.5).tolist() == [6, -4, 1]
    many = torch.linspace(-5, 5, 997, dtype=torch.float64)
    low, high = halves(many, 0.5)
    total = torch.round(low / 0.5) + torch.round(high / 0.5)
    assert torch.equal(total, torch.round(many / 0.5))
    assert outliers(torch.tensor([1.0, 8.0, 3.0]), 3) == [1, 1, 3]


def test_outliers_become_two_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 5, 3))
    with torch.no_grad():
        model[3].weight[:, 2] *= 50
    net = capture(model, input_shape=(1, 3, 12, 12))
    found = split_outliers(net, 0.1, bits=8)
    x = torch.randn(4, 3, 12, 12)
    assert alike(found(x), net(x)) < 1e-4
    assert found.notes == ("split 1 channels between '0' and '3'",)
    before, after = (
        float(each.module.get_parameter("3.weight").detach().abs().max()) for each in (net, found)
    )
    assert after == pytest.approx(before / 2, rel=0.02)
    first, second = found.workload().layers
    assert (first.K, second.C) == (9, 9)
    assert found.graph.tensors["2"].shape == (1, 9, 5, 5)
    assert found.workload().macs > net.workload().macs
    assert found.graph.node("3").parameters["weight"] == (5, 9, 3, 3)
    assert split_outliers(net, 0.0).workload().macs == net.workload().macs
    given = split_outliers(net, 0.1, steps={"3": 0.5}).module.get_parameter("3.weight").detach()
    assert torch.allclose(given[:, 8] - given[:, 2], torch.full_like(given[:, 2], 0.25), atol=1e-5)


def test_what_cannot_be_split_is_named() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.PReLU(8), nn.Conv2d(8, 4, 1)
    )
    net = capture(model, input_shape=(1, 4, 8, 8))
    found = split_outliers(net, 0.1)
    assert found.notes == (
        "channels between '0' and '2' were not split: '2' has groups",
        "channels between '2' and '4' were not split: '2' has groups",
    )
    for call, text in (
        (lambda: split_outliers(net, 1.5), "split ratio must be 0 to 1, not 1.5"),
        (lambda: split_outliers(net, 0.1, bits=1), "bits must be 2 to 16, not 1"),
        (lambda: split_outliers(net, 0.1, steps={"9": 1.0}), "Sequential: '9' is no second layer of a pair"),
    ):
        with pytest.raises(NetworkError) as caught:
            call()
        assert str(caught.value) == text
