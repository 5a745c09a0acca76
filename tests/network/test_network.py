"""A Network runs, moves, copies, loads and describes itself."""

import pytest
import torch
from torch import nn

from bitjoule.network import Network, NetworkError, apply_scheme, capture, edges, insert_quantizers
from tests.network.models import Residual, alike

IMAGE = (1, 3, 8, 8)


@pytest.fixture
def net() -> Network:
    return capture(Residual(), input_shape=IMAGE, name="block")


def test_summary(net: Network) -> None:
    assert str(net) == (
        "block\n"
        "name     operator         output   parameters    MACs\n"
        "-----------------------------------------------------\n"
        "stem     conv             1x4x8x8         112   6,912\n"
        "relu     relu             1x4x8x8\n"
        "conv1    conv             1x4x8x8         144   9,216\n"
        "bn1      batch_norm       1x4x8x8           8\n"
        "relu1    relu             1x4x8x8\n"
        "conv2    conv             1x4x8x8         144   9,216\n"
        "bn2      batch_norm       1x4x8x8           8\n"
        "add      add              1x4x8x8\n"
        "relu2    relu             1x4x8x8\n"
        "pool     global_avg_pool  1x4x1x1\n"
        "flatten  flatten          1x4\n"
        "fc       linear           1x3              15      12\n"
        "-----------------------------------------------------\n"
        "total                                     431  25,356"
    )
    assert repr(net) == "<Network 'block' of 12 nodes>"
    assert repr(apply_scheme(net, "w4a4")) == "<Network 'block' of 12 nodes scheme='w4a4'>"
    assert str(apply_scheme(net, "w4a4")).startswith("block, scheme w4a4\n")


def test_scheme_and_edges(net: Network) -> None:
    assert net.scheme is None and net.assignment is None
    scheduled = apply_scheme(net, "w4a4")
    assert str(scheduled.scheme) == "w4a4" and net.scheme is None
    assert {(edge.tensor, edge.consumer): edge.format for edge in edges(scheduled)} == {
        ("x", "stem"): "INT8",
        ("stem", "relu"): "acc",
        ("relu", "conv1"): "UINT4",
        ("conv1", "bn1"): "acc",
        ("bn1", "relu1"): "acc",
        ("relu1", "conv2"): "UINT4",
        ("conv2", "bn2"): "acc",
        ("bn2", "add"): "acc",
        ("relu", "add"): "UINT4",
        ("add", "relu2"): "acc",
        ("relu2", "pool"): "UINT4",
        ("pool", "flatten"): "UINT8",
        ("flatten", "fc"): "UINT8",
        ("fc", "output"): "acc",
    }
    assert {edge.tensor: edge.format for edge in edges(apply_scheme(net, "int8", image_signed=False))}[
        "x"
    ] == "UINT8"


def test_errors(net: Network) -> None:
    with pytest.raises(NetworkError) as caught:
        edges(net)
    assert str(caught.value) == "block has no Formats on its edges yet: apply_scheme(net, 'w4a4') first"
    scheduled = apply_scheme(net, "int8")
    assert scheduled.assignment is not None
    found = insert_quantizers(
        scheduled, scheduled.assignment, lambda n, f: nn.Identity(), lambda p: nn.Identity()
    )
    with pytest.raises(NetworkError) as caught:
        apply_scheme(found, "w4a4")
    assert str(caught.value) == (
        "block: quantizers of scheme 'int8' are inserted already; apply the scheme to the network before that"
    )


def test_apply_scheme_shares_weights_and_clone_does_not(net: Network) -> None:
    assert apply_scheme(net, "int8").module is net.module
    clone = net.clone()
    with torch.no_grad():
        next(clone.parameters()).add_(1)
    assert not torch.equal(next(clone.parameters()), next(net.parameters()))


def test_weights_load_from_the_model_and_back(net: Network) -> None:
    model = Residual().eval()
    net.load_state_dict(model.state_dict())
    x = torch.randn(3, *IMAGE[1:])
    assert alike(net.eval()(x), model(x)) < 1e-6
    Residual().load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict({})


def test_modes_types_and_formats(net: Network) -> None:
    assert not net.eval().training and net.train().training
    moved = net.to("cpu", torch.float64).to(memory_format=torch.channels_last).eval()
    assert moved is net
    assert net(torch.randn(2, *IMAGE[1:], dtype=torch.float64)).dtype == torch.float64
    assert dict(net.named_parameters())["conv1.weight"].is_contiguous(memory_format=torch.channels_last)


def test_workload_follows_the_scheme(net: Network) -> None:
    assert net.workload().scheme == "float32"
    assert net.workload("int8").layer("conv1").weight_bits == 8
    assert apply_scheme(net, "w4a4").workload().layer("conv1").weight_bits == 4
    assert net.workload().macs == 25_356
