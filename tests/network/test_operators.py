"""Attributes and parameters of every kind of operator, and the module form against the functional form."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import CaptureError, capture
from bitjoule.network.expansions import ALIASES, EXPANSIONS, SPLITS, additive_mask
from bitjoule.network.operators import RULES
from bitjoule.workload.graph import Attribute
from tests.network.models import alike


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


WINDOW = {"stride": (2, 2), "padding": (0, 0, 0, 0), "ceil_mode": False}
CONV = {
    "kernel": (3, 5),
    "stride": (2, 1),
    "padding": (1, 2, 1, 2),
    "dilation": (1, 1),
    "groups": 2,
    "in_channels": 4,
    "out_channels": 6,
    "transposed": False,
}
LAYERS: list[tuple[nn.Module, tuple[int, ...], str, Mapping[str, Attribute]]] = [
    (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), groups=2), (1, 4, 8, 8), "conv", CONV),
    (
        nn.Conv2d(4, 6, (2, 4), padding="same", bias=False),
        (1, 4, 8, 8),
        "conv",
        {**CONV, "kernel": (2, 4), "stride": (1, 1), "padding": (0, 1, 1, 2), "groups": 1},
    ),
    (
        nn.Conv1d(4, 6, 3, padding=1, dilation=2),
        (1, 4, 8),
        "conv",
        {
            **CONV,
            "kernel": (1, 3),
            "stride": (1, 1),
            "padding": (0, 1, 0, 1),
            "dilation": (1, 2),
            "groups": 1,
        },
    ),
    (
        nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
        (1, 4, 4, 4),
        "conv",
        {
            **CONV,
            "kernel": (2, 2),
            "stride": (2, 2),
            "padding": (0, 0, 0, 0),
            "transposed": True,
            "output_padding": (0, 0),
        },
    ),
    (nn.Linear(8, 3), (1, 5, 8), "linear", {"in_features": 8, "out_features": 3}),
    (nn.MaxPool2d(2), (1, 3, 4, 4), "max_pool", {"kernel": (2, 2), **WINDOW, "dilation": (1, 1)}),
    (nn.AvgPool2d(2), (1, 3, 4, 4), "avg_pool", {"kernel": (2, 2), **WINDOW, "count_include_pad": True}),
    (nn.AdaptiveAvgPool2d(1), (1, 3, 4, 4), "global_avg_pool", {"keepdim": True}),
    (nn.AdaptiveAvgPool2d(2), (1, 3, 4, 4), "avg_pool", {"kernel": (2, 2), **WINDOW}),
    (
        nn.AdaptiveMaxPool2d(1),
        (1, 3, 4, 6),
        "max_pool",
        {**WINDOW, "kernel": (4, 6), "stride": (4, 6), "dilation": (1, 1)},
    ),
    (
        nn.AdaptiveMaxPool1d(2),
        (1, 3, 4),
        "max_pool",
        {**WINDOW, "kernel": (1, 2), "stride": (1, 2), "dilation": (1, 1)},
    ),
    (nn.BatchNorm1d(4, eps=1e-4), (1, 4), "batch_norm", {"features": 4, "eps": 1e-4}),
    (nn.LayerNorm(4), (1, 3, 4), "layer_norm", {"normalized_shape": (4,), "eps": 1e-5}),
    (nn.GroupNorm(2, 4), (1, 4, 3), "group_norm", {"groups": 2, "eps": 1e-5}),
    (nn.ReLU(), (1, 4), "relu", {}),
    (nn.ReLU6(inplace=True), (1, 4), "relu6", {}),
    (nn.Hardtanh(), (1, 4), "hardtanh", {"min_value": -1.0, "max_value": 1.0}),
    (nn.LeakyReLU(0.1), (1, 4), "leaky_relu", {"negative_slope": 0.1}),
    (nn.PReLU(), (1, 4), "prelu", {}),
    (nn.GELU("tanh"), (1, 4), "gelu", {"approximate": "tanh"}),
    (nn.SiLU(), (1, 4), "silu", {}),
    (nn.Sigmoid(), (1, 4), "sigmoid", {}),
    (nn.Tanh(), (1, 4), "tanh", {}),
    (nn.Hardswish(), (1, 4), "hardswish", {}),
    (nn.Hardsigmoid(), (1, 4), "hardsigmoid", {}),
    (nn.Softmax(-1), (1, 3, 4), "softmax", {"dim": 2}),
    (nn.Dropout(0.4), (1, 4), "dropout", {"p": 0.4}),
    (nn.Dropout2d(0.4), (1, 4, 2, 2), "dropout", {"p": 0.4}),
    (nn.Flatten(), (1, 3, 4), "flatten", {"start_dim": 1}),
    (nn.Unflatten(1, (2, 2)), (1, 4), "reshape", {"shape": (1, 2, 2)}),
    (nn.ZeroPad2d((0, 1, 2, 3)), (1, 1, 4, 4), "pad", {"pads": (0, 1, 2, 3), "value": 0.0}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("layer", "shape", "op", "attributes"), LAYERS, ids=lambda value: type(value).__name__
)
def test_modules(
    layer: nn.Module, shape: tuple[int, ...], op: str, attributes: Mapping[str, Attribute]
) -> None:
    net = capture(nn.Sequential(layer), input_shape=shape)
    (node,) = net.graph.nodes
    assert (node.name, node.module, node.op, dict(node.attributes)) == ("0", "0", op, dict(attributes))
    assert node.parameters == {
        role: tuple(getattr(layer, role).shape)
        for role in ("weight", "bias")
        if getattr(layer, role, None) is not None
    }
    x = torch.randn(3, *shape[1:])
    assert alike(net.eval()(x), layer.eval()(x)) < 1e-6


def shape_of(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], 2, -1)


FUNCTIONS: list[tuple[Callable[[Tensor], object], list[str]]] = [
    (lambda x: x + 1, ["add"]),
    (lambda x: 2 - x, ["neg", "add"]),
    (lambda x: x / 4 - x * 0.5, ["div", "mul", "sub"]),
    (lambda x: 1 / (x * x + 1), ["mul", "add", "pow", "mul"]),
    (lambda x: x**2, ["pow"]),
    (lambda x: torch.sub(x, x.exp(), alpha=3), ["exp", "mul", "sub"]),
    (
        lambda x: torch.rsqrt(x.sigmoid() + torch.sqrt(x.sigmoid())),
        ["sigmoid", "sigmoid", "sqrt", "add", "rsqrt"],
    ),
    (lambda x: torch.clamp(x, 0, 6), ["relu6"]),
    (lambda x: torch.clamp(x, min=0), ["relu"]),
    (lambda x: x.clamp_min(0), ["relu"]),
    (lambda x: torch.clamp(x, -2, 3), ["hardtanh"]),
    (lambda x: x.mean((2, 3)), ["global_avg_pool"]),
    (lambda x: x.mean(1, keepdim=True), ["mean"]),
    (lambda x: x.sum((2, 3)), ["global_avg_pool", "mul"]),
    (lambda x: x.sum(1, keepdim=True), ["mean", "mul"]),
    (lambda x: F.adaptive_max_pool2d(x, 1), ["max_pool"]),
    (lambda x: x.flatten(1), ["flatten"]),
    (shape_of, ["reshape"]),
    (lambda x: x.unsqueeze(1).squeeze(1), ["reshape", "reshape"]),
    (lambda x: x.permute(0, 2, 3, 1).transpose(1, 2).mT, ["transpose", "transpose", "transpose"]),
    (lambda x: list(x.chunk(2, dim=1)), ["slice", "slice"]),
    (lambda x: list(x.split([1, 3], dim=1)), ["slice", "slice"]),
    (lambda x: x.split(3, dim=1)[1], ["slice"]),
    (lambda x: x.unbind(1)[2], ["slice"]),
    (lambda x: x[:, 1:3, ::2], ["slice", "slice"]),
    (lambda x: x[:, -1], ["slice"]),
    (lambda x: torch.cat([x, x], 1), ["concat"]),
    (lambda x: F.pad(x, (1, 1), value=2.0), ["pad"]),
    (lambda x: x @ x.transpose(-1, -2), ["transpose", "matmul"]),
    (lambda x: x.contiguous().clone().float().to(torch.float32) * 2, ["mul"]),
    (lambda x: x.detach() * x, ["identity", "mul"]),
    (lambda x: x @ torch.eye(4), ["linear"]),
    (lambda x: x * torch.arange(4.0), ["constant", "mul"]),
    (lambda x: F.scaled_dot_product_attention(x, x, x), ["mul", "transpose", "matmul", "softmax", "matmul"]),
    (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        ["mul", "transpose", "matmul", "constant", "add", "softmax", "matmul"],
    ),
    (lambda x: F.linear(x.flatten(1), torch.ones(3, 64), torch.ones(3)), ["flatten", "linear"]),
    (lambda x: torch.addmm(torch.ones(3), x.flatten(1), torch.ones(64, 3)), ["flatten", "linear"]),
    (lambda x: F.conv2d(x, torch.ones(2, 4, 3, 3)), ["conv"]),
    (
        lambda x: F.layer_norm(F.gelu(F.silu(F.leaky_relu(x))), (4,)),
        ["leaky_relu", "silu", "gelu", "layer_norm"],
    ),
]


@pytest.mark.parametrize(
    ("function", "ops"), FUNCTIONS, ids=lambda value: "-".join(value) if isinstance(value, list) else ""
)
def test_functions(function: Callable[[Tensor], object], ops: list[str]) -> None:
    model = Function(function)
    net = capture(model, input_shape=(1, 4, 4, 4))
    assert [node.op for node in net.graph.nodes] == ops
    for batch in (1, 3, 8):
        x = torch.randn(batch, 4, 4, 4)
        assert alike(net(x), model(x)) < 1e-5


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: torch.cat([x, x], 0), "a concatenation along the batch"),
        (lambda x: x[1:], "its forward fixes the batch"),
        (lambda x: x.chunk(2, 0)[0], "its forward fixes the batch"),
        (lambda x: x * x.shape[0], "arithmetic with the batch size"),
        (lambda x: x.to(torch.float64), "a change of type from torch.float32 to torch.float64"),
        (lambda x: x.unsqueeze(1).expand(-1, 2, -1, -1, -1), "an expansion of an activation from"),
        (
            lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
            "padding mode 'reflect'; only constant padding is",
        ),
        (lambda x: F.adaptive_avg_pool2d(x, 3), "windows of unequal size"),
        (lambda x: x.clamp(max=1), "a clamp from None to 1; both ends must be numbers"),
        (lambda x: F.conv2d(x, x), "its weight is computed from the input"),
        (
            lambda x: torch.div(x, 2, rounding_mode="floor"),
            "aten.div.Tensor_mode x1 in the model's own forward",
        ),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "divisor_override=3"),
    ],
)
def test_reasons(function: Callable[[Tensor], object], text: str) -> None:
    with pytest.raises(CaptureError) as caught:
        capture(Function(function), input_shape=(1, 4, 4, 4))
    assert text in str(caught.value)


def test_embedding_and_boolean_masks() -> None:
    model = nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.Linear(24, 2))
    net = capture(model, example_inputs=(torch.randint(0, 5, (2, 3)),))
    assert [node.op for node in net.graph.nodes] == ["embedding", "flatten", "linear"]
    tokens = torch.randint(0, 5, (7, 3))
    assert alike(net(tokens), model(tokens)) == 0
    assert additive_mask(torch.tensor([True, False])).tolist() == [0.0, float("-inf")]

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(4, 4, dtype=torch.bool).tril())

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask)

    x = torch.randn(3, 2, 4, 4)
    assert alike(capture(Masked(), input_shape=(1, 2, 4, 4))(x), Masked()(x)) < 1e-6


def test_a_squeeze_never_takes_the_batch() -> None:
    net = capture(Function(lambda x: x.mean((2, 3), keepdim=True).squeeze()), input_shape=(1, 4, 4, 4))
    assert [net(torch.ones(batch, 4, 4, 4)).shape for batch in (1, 3)] == [(1, 4), (3, 4)]


def test_every_operator_of_the_tables_exists() -> None:
    for key in (*RULES, *EXPANSIONS, *ALIASES, *SPLITS):
        name, overload = key.split(".")
        assert hasattr(getattr(torch.ops.aten, name), overload), key
