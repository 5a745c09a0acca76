"""Quantizers go exactly where the Assignment says; the model's own state stays."""

import copy

import pytest
import torch
from torch import Tensor, fx, nn

from bitjoule.formats import TensorFormat
from bitjoule.network import Network, NetworkError, apply_scheme, capture, insert_quantizers
from bitjoule.workload import Assignment, Node, QuantPoint
from tests.network.models import Residual, SharedRelu, alike

IMAGE = (1, 3, 8, 8)


class Rounded(nn.Module):
    """A stand-in quantizer: rounds to steps, counts its calls, passes the gradient."""

    def __init__(self, label: str, step: float = 2.0**-6) -> None:
        super().__init__()
        self.label = label
        self.step = nn.Parameter(torch.tensor(step))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.calls += 1
        return x + (torch.round(x / self.step) * self.step - x).detach() + 0 * self.step


def weight_quantizer(node: Node, tensor_format: TensorFormat) -> nn.Module:
    return Rounded(f"{node.name}:{tensor_format}")


def activation_quantizer(point: QuantPoint) -> nn.Module:
    return Rounded(f"{point.kind} {point.name}:{point.format}")


def quantized(net: Network, scheme: str) -> Network:
    assignment = apply_scheme(net, scheme).assignment
    assert isinstance(assignment, Assignment)
    return insert_quantizers(net, assignment, weight_quantizer, activation_quantizer)


def exact(net: Network, scheme: str) -> Network:
    """Quantizers that change nothing."""
    assignment = apply_scheme(net, scheme).assignment
    assert assignment is not None
    return insert_quantizers(net, assignment, lambda n, f: nn.Identity(), lambda p: nn.Identity())


def quantizers(net: Network) -> dict[str, Rounded]:
    folder = net.module.get_submodule("quantizers")
    return {name: part for name, part in folder.named_children() if isinstance(part, Rounded)}


def flow(net: Network) -> dict[str, list[str]]:
    """What every node of the Graph and every quantizer reads, by name."""

    def name(node: fx.Node) -> str:
        return str(node.meta.get("bitjoule", node.target))

    return {
        name(node): [name(source) for source in node.all_input_nodes if source.op != "get_attr"]
        for node in net.module.graph.nodes
    }


def test_sp_puts_formats_where_the_block_diagram_does() -> None:
    # training.md section 2, SP: both convolutions read UINT4, conv2 reaches the add from the accumulator
    net = quantized(capture(Residual(), input_shape=IMAGE), "w4a4")
    assert {name: part.label for name, part in quantizers(net).items()} == {
        "x": "input x:INT8",
        "relu": "stored relu:UINT4",
        "relu1": "stored relu1:UINT4",
        "relu2": "stored relu2:UINT4",
        "pool": "stored pool:UINT8",
        "stem_weight": "stem:INT8_NARROW/channel",
        "conv1_weight": "conv1:INT4_NARROW/channel",
        "conv2_weight": "conv2:INT4_NARROW/channel",
        "fc_weight": "fc:INT8_NARROW/channel",
    }
    reads = flow(net)
    assert reads["conv1"] == ["quantizers.relu", "quantizers.conv1_weight"]
    assert reads["conv2"] == ["quantizers.relu1", "quantizers.conv2_weight"]
    assert reads["add"] == ["bn2", "quantizers.relu"]


def test_hpr_puts_formats_where_the_block_diagram_does() -> None:
    # training.md section 2, HPR: skip, conv2 result and sum are INT16, conv1 sees its own UINT4
    net = quantized(capture(Residual(), input_shape=IMAGE), "hpr-w4a4")
    labels = {name: part.label for name, part in quantizers(net).items() if not name.endswith("_weight")}
    assert labels == {
        "x": "input x:INT8",
        "relu": "stored relu:INT16",
        "relu_UINT4": "read relu@UINT4:UINT4",
        "relu1": "stored relu1:UINT4",
        "bn2": "stored bn2:INT16",
        "relu2": "stored relu2:INT16",
        "pool": "stored pool:UINT8",
    }
    reads = flow(net)
    assert reads["conv1"] == ["quantizers.relu_UINT4", "quantizers.conv1_weight"]
    assert reads["quantizers.relu_UINT4"] == ["quantizers.relu"]
    assert reads["add"] == ["quantizers.bn2", "quantizers.relu"]


@pytest.mark.parametrize("scheme", ["int8", "w4a4", "hpr-w4a4"])
def test_quantizers_that_change_nothing_change_nothing(scheme: str) -> None:
    net = capture(Residual(), input_shape=IMAGE)
    same = exact(net, scheme)
    for mode in (True, False):
        x = torch.randn(4, *IMAGE[1:])
        assert alike(same.train(mode)(x), net.train(mode)(x)) == 0


def test_original_keys_and_values_stay() -> None:
    net = capture(SharedRelu(), input_shape=IMAGE)
    found = quantized(net, "w4a4")
    state, original = found.state_dict(), net.state_dict()
    assert [key for key in state if not key.startswith("quantizers.")] == list(original)
    assert all(torch.equal(state[key], value) for key, value in original.items())
    assert not any(key.startswith("quantizers") for key in net.state_dict())
    assert found.quantized and not net.quantized


def test_a_weight_is_quantized_once_per_forward_also_when_shared() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.relu = nn.ReLU()
            self.fc = nn.Linear(3 * 64, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.conv(x))
            x = self.relu(self.conv(x))
            x = self.relu(self.conv(x))
            return self.fc(x.flatten(1))

    net = quantized(capture(Twice(), input_shape=IMAGE), "w4a4[first=same]")
    net(torch.randn(2, *IMAGE[1:]))
    weights = {name: part for name, part in quantizers(net).items() if name.endswith("_weight")}
    assert set(weights) == {"conv_weight", "fc_weight"}
    assert {part.calls for part in weights.values()} == {1}


def test_linear_layers_on_plain_parameters_have_weight_quantizers() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net = capture(model, example_inputs=(torch.randn(1, 4, 8),))
    found = quantized(net, "int8")
    assert "self_attn_linear_weight" in quantizers(found)
    same = exact(net, "int8")
    x = torch.randn(3, 4, 8)
    assert alike(same(x), net(x)) == 0
    found(x).sum().backward()
    assert found.module.get_parameter("self_attn.in_proj_weight").grad is not None


def test_one_dimensional_and_transposed_layers() -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3, stride=2),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 4, 2, groups=2),
        nn.ReLU(),
        nn.Conv1d(4, 2, 1),
    )
    net = capture(model, input_shape=(1, 3, 12))
    x = torch.randn(2, 3, 12)
    assert alike(exact(net, "w4a4")(x), net(x)) == 0


def test_the_rounded_values_are_used() -> None:
    net = capture(Residual(), input_shape=IMAGE).eval()
    found = quantized(net, "w4a4").eval()
    x = torch.randn(2, *IMAGE[1:])
    assert 0 < alike(found(x), net(x)) < 0.5
    found(x).sum().backward()
    assert all(parameter.grad is not None for parameter in found.parameters())


def test_relus_before_signs_hand_their_input_on() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 2, 3),
    )  # fmt: skip
    net = capture(model, input_shape=IMAGE)
    assignment = apply_scheme(net, "w1a1").assignment
    assert assignment is not None and assignment.absorbed
    seen: list[Tensor] = []

    class Sign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return torch.where(x >= 0, 1.0, -1.0)

    found = insert_quantizers(
        net,
        assignment,
        lambda node, tensor_format: nn.Identity(),
        lambda point: Sign() if point.format.format.bits == 1 else nn.Identity(),
    )
    found(torch.randn(2, *IMAGE[1:]))
    assert seen and all(float(x.detach().min()) < 0 for x in seen)


def test_copies_modes_and_memory_formats() -> None:
    found = quantized(capture(Residual(), input_shape=IMAGE), "w4a4").eval()
    clone = found.clone()
    assert clone.quantized and not quantizers(clone)["conv1_weight"].training
    x = torch.randn(2, *IMAGE[1:])
    expected = found(x)
    with torch.no_grad():
        quantizers(found)["conv1_weight"].step.fill_(1.0)
    assert alike(found(x), expected) > 0
    assert alike(clone(x), expected) == 0
    clone.to(memory_format=torch.channels_last)
    assert alike(clone(x.to(memory_format=torch.channels_last)), expected) < 1e-5
    assert alike(copy.deepcopy(clone.module)(x), expected) < 1e-5
    assert clone.train().training and quantizers(clone)["conv1_weight"].training


def test_the_quantized_network_is_one_graph_for_the_compiler() -> None:
    found = quantized(capture(Residual(), input_shape=IMAGE), "hpr-w4a4").eval()
    x = torch.randn(2, *IMAGE[1:])
    compiled = torch.compile(found.module, backend="aot_eager", fullgraph=True)
    assert alike(compiled(x), found(x)) < 1e-5


def test_insertion_is_refused_twice_and_for_strangers() -> None:
    net = capture(Residual(), input_shape=IMAGE)
    found = quantized(net, "int8")
    assert found.assignment is not None
    with pytest.raises(NetworkError) as caught:
        insert_quantizers(found, found.assignment, weight_quantizer, activation_quantizer)
    assert str(caught.value) == "Residual has quantizers already: insert into the network before that"
    other = apply_scheme(capture(SharedRelu(), input_shape=IMAGE), "int8").assignment
    assert other is not None
    with pytest.raises(NetworkError, match="which Residual does not have: make it with assign"):
        insert_quantizers(net, other, weight_quantizer, activation_quantizer)
