"""A Network over a rewritten Graph: what stays keeps its values, what is new stands under `repairs.`."""

import dataclasses

import pytest
import torch
from torch import nn

from bitjoule.network import Network, NetworkError, apply_scheme, capture
from bitjoule.network.rebuild import rebuild
from bitjoule.network.repair_modules import OuterScale, residual_of_signs
from bitjoule.network.slopes import DPReLU
from bitjoule.scheme import parse_scheme
from bitjoule.workload.repairs import repair_graph
from tests.network.models import Residual, SharedRelu
from tests.network.test_surgery import exact

IMAGE = (1, 3, 8, 8)


def with_repairs(net: Network, *names: str) -> Network:
    made = repair_graph(net.graph, parse_scheme("w1a1"), names)
    return rebuild(net, made.graph, made.notes)


@pytest.mark.parametrize("model", [Residual, SharedRelu])
def test_the_same_graph_computes_the_same(model: type[nn.Module]) -> None:
    net = capture(model(), input_shape=IMAGE)
    same = rebuild(net, net.graph)
    x = torch.randn(3, *IMAGE[1:])
    for mode in (True, False):
        torch.manual_seed(0)  # SharedRelu has dropout
        first = same.train(mode)(x)
        torch.manual_seed(0)
        assert torch.equal(first, net.train(mode)(x))
    assert same.state_dict().keys() == net.state_dict().keys()


def test_what_stays_keeps_its_values_and_the_old_network_its_own() -> None:
    net = capture(Residual(), input_shape=IMAGE)
    made = with_repairs(net, "pre_bn", "rprelu")
    old, new = net.state_dict(), made.state_dict()
    assert all(torch.equal(new[key], old[key]) for key in new if key in old)
    assert {key.partition(".")[0] for key in new.keys() - old.keys()} == {"repairs"}
    assert {key.rpartition(".")[0] for key in old.keys() - new.keys()} == {"bn1", "bn2"}
    with torch.no_grad():
        next(iter(made.parameters())).add_(1)
    assert torch.equal(net.state_dict()["stem.weight"], old["stem.weight"])
    made.clone().load_state_dict(made.state_dict())


def test_repairs_come_before_quantizers() -> None:
    net = capture(Residual(), input_shape=IMAGE)
    with pytest.raises(NetworkError, match="quantizers of scheme 'w1a1' are inserted already; repair before"):
        rebuild(exact(net, "w1a1"), net.graph)
    assert apply_scheme(with_repairs(net, "rprelu"), "w1a1+rprelu").assignment is not None


def test_a_module_named_repairs_is_refused() -> None:
    class Named(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.repairs = nn.Identity()

    with pytest.raises(
        NetworkError, match="has a module of its own named 'repairs', where repairs go: rename"
    ):
        with_repairs(capture(Named(), input_shape=IMAGE), "rprelu")


def test_an_operator_without_a_torch_function_is_refused() -> None:
    net = capture(Residual(), input_shape=IMAGE)
    nodes = list(with_repairs(net, "learned_shift").graph.nodes)
    strange = next(index for index, node in enumerate(nodes) if node.name.endswith(".shifted"))
    nodes[strange] = dataclasses.replace(nodes[strange], op="softmax")
    graph = dataclasses.replace(with_repairs(net, "learned_shift").graph, nodes=tuple(nodes))
    with pytest.raises(ValueError, match=r"shifted: no torch function computes a softmax of a repair"):
        rebuild(net, graph)


def test_modules_of_repairs() -> None:
    scale = OuterScale((("channel", 2), ("row", 3), ("column", 4)), 1.0)
    with torch.no_grad():
        for vector in scale.parameters():
            vector.copy_(torch.rand(vector.shape))
    a, b, c = scale.parameters()
    torch.testing.assert_close(scale(), torch.einsum("k,p,q->kpq", a, b, c).unsqueeze(0))
    slopes = DPReLU(2)
    x = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(slopes(x), torch.where(x < 0, 0.25 * x, x))
    w = torch.randn(4, 3, 3, 3)
    errors = [float(residual_of_signs(w, bases).square().mean()) for bases in range(4)]
    assert errors == sorted(errors, reverse=True) and errors[0] == pytest.approx(float(w.square().mean()))
