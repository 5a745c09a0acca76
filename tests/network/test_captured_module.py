"""The module of a Network keeps everything through copies, and its batch norm follows the mode."""

import copy

import torch
from torch import fx, nn

from bitjoule.network.captured_module import CapturedModule, FunctionalBatchNorm


def test_unused_state_survives_construction_and_deep_copies() -> None:
    root = nn.Module()
    root.register_parameter("unused", nn.Parameter(torch.ones(2)))
    root.add_module("first", nn.Linear(2, 2))
    root.register_buffer("hidden", torch.zeros(1), persistent=False)
    root.add_module("idle", nn.BatchNorm1d(2))
    graph = fx.Graph()
    graph.output(graph.call_module("first", (graph.placeholder("x"),)))
    module = CapturedModule(root, graph)
    keys = list(root.state_dict())
    copied = copy.deepcopy(copy.deepcopy(module))
    assert list(module.state_dict()) == list(copied.state_dict()) == keys
    assert "hidden" not in keys and copied.get_buffer("hidden").shape == (1,)
    assert copied.get_parameter("unused") is not module.get_parameter("unused")
    assert torch.equal(copied(torch.ones(3, 2)), module(torch.ones(3, 2)))


def test_tied_parameters_stay_tied_in_a_copy() -> None:
    root = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    root[1].weight = root[0].weight
    graph = fx.Graph()
    graph.output(graph.call_module("1", (graph.call_module("0", (graph.placeholder("x"),)),)))
    copied = copy.deepcopy(CapturedModule(root, graph))
    assert copied.get_parameter("0.weight") is copied.get_parameter("1.weight")


def test_functional_batch_norm_is_batch_norm() -> None:
    reference = nn.BatchNorm1d(3, momentum=0.2)
    mean, var = torch.zeros(3), torch.ones(3)
    norm = FunctionalBatchNorm(momentum=0.2, eps=reference.eps)
    for mode in (True, False):
        x = torch.randn(8, 3)
        found = norm.train(mode)(x, reference.weight, reference.bias, mean, var)
        torch.testing.assert_close(found, reference.train(mode)(x))
        torch.testing.assert_close(mean, reference.running_mean)
    x = torch.randn(8, 3)
    torch.testing.assert_close(
        norm.eval()(x, None, None, None, None).mean(0), torch.zeros(3), atol=1e-6, rtol=0
    )
