"""Foreign modules are captured as they are, or refused with a text that says where and how to mend it."""

import copy
import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import CaptureError, apply_scheme, capture
from bitjoule.workload import Graph
from tests.network.models import (
    BatchFixed,
    Branch,
    Cumulative,
    InPlaceThroughView,
    ModeDependent,
    NormalizedByHand,
    Residual,
    SharedRelu,
    Spectral,
    TwoInputs,
    UnsupportedTwice,
    alike,
)

IMAGE = (1, 3, 8, 8)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_capture_runs_any_batch(batch: int) -> None:
    model = SharedRelu().eval()
    net = capture(model, input_shape=IMAGE)
    x = torch.randn(batch, *IMAGE[1:])
    assert alike(net(x), model(x)) < 1e-5


def test_shapes_are_those_of_batch_one_whatever_the_example_was() -> None:
    net = capture(SharedRelu(), example_inputs=(torch.randn(4, *IMAGE[1:]),))
    assert net.graph.tensors["x"].shape == IMAGE
    assert net.graph.tensors["fc"].shape == (1, 5)


def test_names_of_shared_modules_and_functional_operators() -> None:
    net = capture(SharedRelu(), input_shape=IMAGE)
    assert [(node.name, node.op) for node in net.graph.nodes] == [
        ("conv1", "conv"),
        ("bn1", "batch_norm"),
        ("relu", "relu"),
        ("conv2", "conv"),
        ("bn2", "batch_norm"),
        ("add", "add"),
        ("relu@1", "relu"),
        ("max_pool", "max_pool"),
        ("relu@2", "relu"),
        ("dropout", "dropout"),
        ("flatten", "flatten"),
        ("fc", "linear"),
    ]
    assert net.graph.node("add").inputs == ("bn2", "relu")
    assert net.graph.node("relu@2").module == "relu"


def test_one_training_step_is_the_models_own() -> None:
    model = SharedRelu().train()
    net = capture(model, input_shape=IMAGE)
    x = torch.randn(6, *IMAGE[1:])
    for network in (model, net):
        torch.manual_seed(5)
        network(x).square().sum().backward()
    gradients = dict(net.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert gradients[name].grad is None
        else:
            torch.testing.assert_close(gradients[name].grad, parameter.grad)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, msg=name)
    assert int(net.state_dict()["bn1.num_batches_tracked"]) == 1


def test_state_dict_keys_stay_also_those_of_unused_parameters() -> None:
    model = SharedRelu()
    net = capture(model, input_shape=IMAGE)
    assert list(net.state_dict()) == list(model.state_dict())
    assert list(net.clone().state_dict()) == list(model.state_dict())
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_the_callers_model_is_not_changed() -> None:
    model = SharedRelu().train()
    model.bn2.eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    net = capture(model, input_shape=IMAGE)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.relu.inplace and model.training and not model.bn2.training
    assert list(dict(model.named_modules())) == list(dict(SharedRelu().named_modules()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert net.training and not net.module.get_submodule("bn2").training
    with torch.no_grad():
        next(net.parameters()).zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_layer_is_captured_through_its_operators(norm_first: bool) -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first, activation="gelu")
    net = capture(model, example_inputs=(torch.randn(2, 5, 16),))
    kinds = [node.op for node in net.graph.nodes]
    counts = {op: kinds.count(op) for op in ("linear", "matmul", "softmax", "layer_norm", "add", "gelu")}
    assert counts == {"linear": 4, "matmul": 2, "softmax": 1, "layer_norm": 2, "add": 2, "gelu": 1}
    assert net.graph.node("self_attn.linear").parameters == {"weight": (48, 16), "bias": (48,)}
    # 5 tokens: qkv 5*16*48, out 5*16*16, mlp 2*5*16*32, attention 2*2*5*5*8
    assert net.workload().macs == 3840 + 1280 + 5120 + 800
    assert list(net.state_dict()) == list(model.state_dict())
    for batch in (1, 3, 8):
        x = torch.randn(batch, 5, 16)
        assert alike(net.eval()(x), model.eval()(x)) < 1e-5
        torch.manual_seed(batch)
        expected = model.train()(x)
        torch.manual_seed(batch)
        assert alike(net.train()(x), expected) < 1e-5
    net(x).sum().backward()
    assert net.module.get_parameter("self_attn.in_proj_weight").grad is not None


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.attention(x, context, context)


def test_cross_attention_with_weights_and_two_inputs() -> None:
    model = CrossAttention().eval()
    net = capture(model, example_inputs=(torch.randn(2, 3, 8), torch.randn(2, 5, 4)))
    for batch in (1, 3, 8):
        x, context = torch.randn(batch, 3, 8), torch.randn(batch, 5, 4)
        assert alike(net(x, context), model(x, context)) < 1e-5
    assert net.graph.inputs == ("x", "context")
    assert len(net.graph.outputs) == 2


def test_two_inputs_and_nested_outputs_keep_their_structure() -> None:
    model = TwoInputs()
    net = capture(model, example_inputs=(torch.randn(1, 6), torch.randn(1, 3)))
    image, context = torch.randn(3, 6), torch.randn(3, 3)
    found = net(image, context)
    assert set(found) == {"sum", "parts"} and isinstance(found["parts"], list)
    assert alike(found, model(image, context)) < 1e-6
    assert [(node.name, node.op, node.inputs) for node in net.graph.nodes] == [
        ("left", "linear", ("image",)),
        ("right", "linear", ("context",)),
        ("concat", "concat", ("left", "right")),
        ("mul", "mul", ("right",)),
        ("add", "add", ("left", "mul")),
        ("slice", "slice", ("concat",)),
        ("neg", "neg", ("concat",)),
        ("add_1", "add", ("neg",)),
    ]
    assert net.graph.node("add_1").attributes == {"value": 1.0}
    assert net.graph.node("mul").attributes == {"value": 2.0}


def test_an_input_that_is_not_batched_stays_as_it_is() -> None:
    class Positioned(nn.Module):
        def forward(self, x: Tensor, position: Tensor) -> Tensor:
            return x + position

    net = capture(Positioned(), example_inputs=(torch.randn(4, 3, 5), torch.randn(3, 5)))
    assert net.graph.tensors["position"].shape == (3, 5)
    assert net(torch.ones(7, 3, 5), torch.ones(3, 5)).shape == (7, 3, 5)


def test_functional_dropout_follows_train_and_eval() -> None:
    net = capture(SharedRelu(), input_shape=IMAGE)
    x = torch.randn(2, *IMAGE[1:])
    net.train()
    assert alike(net(x), net(x)) > 0
    net.eval()
    assert alike(net(x), net(x)) == 0


def test_functional_batch_norm_follows_train_and_eval() -> None:
    model = nn.Sequential(NormalizedByHand(3)).train()
    net = capture(model, input_shape=IMAGE)
    assert [node.op for node in net.graph.nodes] == ["batch_norm"]
    for mode in (True, False):
        x = torch.randn(4, *IMAGE[1:])
        assert alike(net.train(mode)(x), model.train(mode)(x)) < 1e-6
        torch.testing.assert_close(net.state_dict()["0.running_mean"], model[0].running_mean)


def test_dropout_that_is_always_on_is_refused() -> None:
    class Forgetful(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5)

    with pytest.raises(CaptureError, match="random numbers in forward: this dropout is on in evaluation too"):
        capture(Forgetful(), input_shape=(1, 64))


@pytest.mark.parametrize("shape", [(1, 4, 6), (1, 4, 6, 6)])
def test_functional_dropout_of_channels_follows_train_and_eval(shape: tuple[int, ...]) -> None:
    class Channels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            drop = F.dropout1d if x.dim() == 3 else F.dropout2d
            return drop(x, 0.5, self.training)

    net = capture(Channels(), input_shape=shape)
    assert [node.op for node in net.graph.nodes] == ["dropout"] and net.notes == ()
    x = torch.ones(64, *shape[1:])
    assert torch.equal(net.eval()(x), x)
    dropped = net.train()(x).flatten(2)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped.amin(2), dropped.amax(2))


def test_batch_norm_with_a_cumulative_average() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.ReLU())
    net = capture(model, input_shape=IMAGE)
    assert [node.op for node in net.graph.nodes] == ["conv", "batch_norm", "relu"]
    for _ in range(3):
        x = torch.randn(4, *IMAGE[1:])
        assert alike(net.train()(x), model.train()(x)) < 1e-6
    for key, value in model.state_dict().items():
        torch.testing.assert_close(net.state_dict()[key], value)
    assert model[1].momentum is None


def test_a_cumulative_average_in_a_forward_of_its_own_is_named() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    with pytest.raises(CaptureError, match=r"batch norm with momentum=None in module '0'.*such as 0\.1"):
        capture(nn.Sequential(Own(3, momentum=None)), input_shape=IMAGE)


def test_what_is_not_computed_is_noted_or_refused() -> None:
    class Extra(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> object:
            return self.fc(x), None, 3, self.scale

    net = capture(Extra(), input_shape=(1, 4))
    assert net.graph.outputs == ("fc",)
    assert net.notes == (
        "not computed from an input, so returned but not in the Graph: output 1, output 2, output 3",
    )
    assert net(torch.zeros(2, 4))[1:3] == (None, 3)

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(2)

    with pytest.raises(CaptureError, match="nothing it returns is computed from an input"):
        capture(Constant(), input_shape=(1, 4))


def test_arguments_left_at_their_defaults_are_noted() -> None:
    class Options(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 2.0) -> Tensor:
            return x * scale if mask is None else x * mask

    net = capture(Options(), input_shape=(1, 4))
    assert net.notes == (
        "arguments of forward that the example does not give are fixed: mask=None, scale=2.0",
    )
    both = (torch.ones(1, 4), torch.ones(1, 4))
    assert capture(Options(), example_inputs=both).notes == (
        "arguments of forward that the example does not give are fixed: scale=2.0",
    )


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, 16)
        self.fc = nn.Linear(16, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc(self.table(ids[:, 1:].flatten(1)).mean(1))


def test_row_numbers_of_a_table_have_no_format() -> None:
    net = capture(Words(), example_inputs=(torch.randint(0, 1000, (1, 4)),))
    assert net.graph.indices == {"ids", "slice", "reshape"}
    assert Graph.from_json(net.graph.to_json()) == net.graph
    for scheme in ("w4a4", "hpr-w4a4", "int8", "fp16"):
        assignment = apply_scheme(net, scheme).assignment
        assert assignment is not None
        assert [edge.format for edge in assignment.edges()][:3] == ["index", "index", "index"]
        assert "ids" not in {point.tensor for point in assignment.points}
    assert net.workload("int8").tensors["ids"].bits == 32


@pytest.mark.parametrize("use", [lambda ids: ids * 0.5, lambda ids: ids + ids, lambda ids: torch.relu(ids)])
def test_arithmetic_on_integers_is_refused(use: Callable[[Tensor], Tensor]) -> None:
    class Uses(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return use(ids)

    with pytest.raises(CaptureError, match="it computes on integers or booleans; only an embedding may"):
        capture(Uses(), example_inputs=(torch.randint(0, 9, (1, 4)),))


def test_forward_that_reads_the_mode_is_captured_in_evaluation_mode() -> None:
    net = capture(ModeDependent(), input_shape=(1, 4)).eval()
    assert torch.equal(net(torch.ones(2, 4)), torch.full((2, 4), 3.0))
    assert net.notes[0].startswith("captured in evaluation mode")


def test_computed_weights_are_layers_too() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    net = capture(model, input_shape=IMAGE)
    assert [(node.name, node.op) for node in net.graph.nodes] == [("0.conv", "conv"), ("1", "relu")]
    assert list(net.state_dict()) == list(model.state_dict())
    x = torch.randn(3, *IMAGE[1:])
    assert alike(net(x), model(x)) < 1e-6
    net(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_subclass_that_only_configures_is_its_class() -> None:
    class Pointwise(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 2, 1)

    net = capture(nn.Sequential(Pointwise()), input_shape=IMAGE)
    assert [node.name for node in net.graph.nodes] == ["0"]


def test_a_single_layer_is_a_network() -> None:
    net = capture(nn.Linear(4, 2), input_shape=(1, 4))
    assert [(node.name, node.op) for node in net.graph.nodes] == [("linear", "linear")]
    assert list(net.state_dict()) == ["weight", "bias"]


def test_parameters_as_operands_are_constants() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 4))
            self.position = nn.Parameter(torch.randn(1, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
            return (x + self.position)[:, 0]

    model = Tokens()
    net = capture(model, input_shape=(1, 3, 4))
    assert [(node.name, node.op, node.inputs) for node in net.graph.nodes] == [
        ("constant", "constant", ()),
        ("concat", "concat", ("constant", "x")),
        ("position", "constant", ()),
        ("add", "add", ("concat", "position")),
        ("slice", "slice", ("add",)),
    ]
    x = torch.randn(5, 3, 4)
    assert alike(net(x), model(x)) == 0
    net(x).sum().backward()
    assert net.module.get_parameter("token").grad is not None


def test_channels_last_and_double() -> None:
    model = Residual().double().eval()
    net = capture(model, input_shape=IMAGE).to(memory_format=torch.channels_last)
    x = torch.randn(2, *IMAGE[1:], dtype=torch.float64).to(memory_format=torch.channels_last)
    assert net(x).dtype == torch.float64
    assert alike(net(x), model(x)) < 1e-12


def line_of(kind: type, text: str) -> int:
    """Line number, in the file of `kind`, of the first of its lines that contains `text`."""
    lines, start = inspect.getsourcelines(kind)
    return start + next(index for index, line in enumerate(lines) if text in line)


def refused(model: object, **example: object) -> str:
    with pytest.raises(CaptureError) as caught:
        capture(model, **example)  # type: ignore[arg-type]
    return str(caught.value)


class Choice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))


class Frozen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = x * 2
        return x + 1


@pytest.mark.filterwarnings("ignore")  # torch warns while it traces the branches
def test_graphs_within_the_graph_are_refused_with_the_remedy() -> None:
    line = line_of(Choice, "torch.cond")
    text = refused(nn.Sequential(nn.Linear(4, 4), Choice()), input_shape=(1, 4))
    assert "cannot capture Sequential: " in text
    assert (
        f"  cond x1 in module '1' (test_capture.py:{line}): the values of a tensor decide what runs, "
        "and a captured network is one fixed graph; write the choice as "
        "arithmetic (relu, clamp, a product), or capture each side alone\n"
    ) in text
    text = refused(nn.Sequential(nn.Linear(4, 4), Frozen()), input_shape=(1, 4))
    assert "a part of forward runs under torch.no_grad or torch.enable_grad; leave that to the caller" in text


def test_a_branch_on_data_is_refused_with_its_line() -> None:
    line = line_of(Branch, "x.sum()")
    assert refused(nn.Sequential(nn.Linear(4, 4), Branch()), input_shape=(1, 4)) == (
        "cannot capture Sequential: its control flow depends on the values of a tensor in module '1' "
        f"(models.py:{line}: if x.sum() > 0:). A captured network is one fixed graph: write the choice as "
        "arithmetic (relu, clamp, a product), or move the branch out of forward and capture each side. "
        "torch.where and torch.cond can be exported, but the Graph has no node for them"
    )


def test_unsupported_operators_are_reported_together() -> None:
    cumulative, spectral = line_of(Cumulative, "cumsum"), line_of(Spectral, "rfft")
    assert refused(UnsupportedTwice(), input_shape=(1, 4)) == (
        "cannot capture UnsupportedTwice: 3 operators are not supported\n"
        f"  aten.cumsum.default x2 in module 'stages.1' (models.py:{cumulative})\n"
        f"  aten.fft_rfft.default x1 in module 'spectral' (models.py:{spectral})\n"
        f"  aten.real.default x1 in module 'spectral' (models.py:{spectral})\n"
        "Write them with supported operators (docs/network.md lists them), or move them out of the model"
    )


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ({}, "needs either input_shape=(1, 3, 32, 32) or example_inputs=(tensor, ...), and got neither"),
        (
            {"input_shape": (1, 4), "example_inputs": (torch.ones(1, 4),)},
            "needs either input_shape=(1, 3, 32, 32) or example_inputs=(tensor, ...), and got both",
        ),
        ({"input_shape": (4,)}, "input_shape must be the batch and at least one more size"),
        ({"input_shape": (1, -4)}, "all positive integers, such as (1, 3, 32, 32), not (1, -4)"),
        ({"example_inputs": torch.ones(1, 4)}, "must be a tuple with one tensor per argument of forward"),
        ({"example_inputs": ()}, "example_inputs must be a tuple of tensors, not ()"),
        ({"example_inputs": (1.0,)}, "example_inputs[0] must be a tensor, not float"),
        (
            {"example_inputs": (torch.tensor(1.0),)},
            "example_inputs[0] must have a batch dimension, not shape ()",
        ),
        (
            {"input_shape": (1, 5)},
            "Linear cannot run inputs of shape (1, 5): mat1 and mat2 shapes cannot be multiplied (1x5 and ",
        ),
    ],
)
def test_bad_arguments_are_refused(example: dict[str, object], text: str) -> None:
    assert text in refused(nn.Linear(4, 2), **example)


def test_only_modules_are_captured() -> None:
    assert refused(torch.relu, input_shape=(1, 4)) == (
        "capture takes a torch.nn.Module, not builtin_function_or_method: build the module first"
    )


def test_a_wrong_shape_names_the_module() -> None:
    text = refused(Residual(), input_shape=(1, 4, 8, 8))
    assert text.startswith("Residual cannot run inputs of shape (1, 4, 8, 8): Given groups=1")
    assert "in module 'stem'" in text and text.endswith("as its forward expects them")


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_is_refused(batch: int) -> None:
    text = refused(BatchFixed(batch), input_shape=(batch, 4))
    assert text.startswith(
        "cannot capture BatchFixed: its forward fixes the batch, so other batches cannot run "
        "(write x.view(x.size(0), ...) or x.flatten(1), not a number)"
    )


def test_a_missing_batch_is_explained() -> None:
    assert "or its input has no batch dimension" in refused(nn.Conv2d(3, 4, 3), input_shape=(3, 8, 8))


def test_in_place_through_a_view_is_refused_not_miscaptured() -> None:
    assert "must change a tensor in place through a view" in refused(
        InPlaceThroughView(), input_shape=(1, 4, 2)
    )


def test_numbers_from_tensors_random_numbers_and_buffer_writes_are_refused() -> None:
    class Impure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            return x * x.sigmoid().max().item() + torch.randn(4)

    text = refused(Impure(), input_shape=(1, 4))
    assert "aten.add_.Tensor x1 in the model's own forward" in text
    assert "it changes a parameter or buffer in place during forward" in text
    assert "a Python number taken from a tensor" in text
    assert "random numbers in forward" in text
