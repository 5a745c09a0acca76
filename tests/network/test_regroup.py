"""Which modules are put back whole, and which stay as the operators they ran."""

import torch
from torch import Tensor, nn

from bitjoule.network import capture
from bitjoule.network.regroup import LEAVES, is_leaf


class Scaled(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * 2, self.bias)


def targets(model: nn.Module) -> list[tuple[str, str]]:
    """(fx kind, target) of the calls that are Graph nodes."""
    net = capture(model, input_shape=(1, 3, 8, 8))
    return [
        (node.op, str(node.target) if node.op == "call_module" else "")
        for node in net.module.graph.nodes
        if "bitjoule" in node.meta and node.op.startswith("call")
    ]


def test_leaves_are_called_as_modules() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Identity(), nn.ReLU(), nn.Dropout())
    assert targets(model) == [("call_module", name) for name in ("0", "1", "3", "4")]


def test_a_forward_of_its_own_is_not_a_leaf() -> None:
    assert not is_leaf(Scaled(3, 4, 3))
    assert targets(nn.Sequential(Scaled(3, 4, 3), nn.ReLU())) == [("call_function", ""), ("call_module", "1")]


def test_hooks_and_computed_weights_are_not_leaves() -> None:
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda module, inputs, output: output * 2)
    assert not is_leaf(hooked)
    assert targets(nn.Sequential(hooked)) == [("call_function", ""), ("call_function", "")]
    assert not is_leaf(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert not is_leaf(nn.MultiheadAttention(4, 2))


def test_padding_that_is_an_operator_of_its_own_is_refused_or_written_out() -> None:
    model = nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3, padding="valid"))
    net = capture(model, input_shape=(1, 3, 8, 8))
    assert net.graph.node("0").attributes == {"pads": (1, 1, 1, 1), "value": 0.5}
    assert net.graph.tensors["1"].shape == (1, 4, 8, 8)


def test_one_module_under_two_names_is_one_module() -> None:
    class Alias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.second = self.first

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    model = Alias()
    net = capture(model, input_shape=(1, 3, 8, 8))
    assert [node.name for node in net.graph.nodes] == ["first", "second"]
    assert list(net.state_dict()) == list(model.state_dict())
    assert net.module.get_submodule("first") is net.module.get_submodule("second")
    assert torch.equal(net(torch.ones(2, 3, 8, 8)), model(torch.ones(2, 3, 8, 8)))


def test_every_leaf_is_a_module_class() -> None:
    assert len(set(LEAVES)) == len(LEAVES) and all(issubclass(leaf, nn.Module) for leaf in LEAVES)
