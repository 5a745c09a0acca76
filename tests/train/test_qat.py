"""prepare_qat: which method trains which tensor, and that the network computes on levels."""

import pytest
import torch

from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.train import CheckpointError, QatConfig, prepare_qat, quantizers, recipe, train
from bitjoule.train.qat import moons_initialize, uses_moons


def described(net):
    return {
        path.removeprefix("quantizers."): (q.method, str(q.tensor_format))
        for path, q in quantizers(net).items()
    }


def input_quantizer(net):
    (name,) = net.graph.inputs
    return quantizers(net)[f"quantizers.{name}"]


def test_w4a4_of_a_residual_network(residual):
    net = prepare_qat(residual, "w4a4", input_scale=2 / 255)
    found = described(net)
    assert found[net.graph.inputs[0]] == ("ste", "INT8")
    assert found["conv1_weight"] == ("lsq", "INT8_NARROW/channel")
    assert found["block2_conv1_weight"] == ("lsq", "INT4_NARROW/channel")
    assert found["linear_weight"] == ("lsq", "INT8_NARROW/channel")
    assert {text for name, (_, text) in found.items() if "relu" in name} == {"UINT4"}
    assert found["pool"] == ("lsq", "UINT8")


@pytest.mark.parametrize(
    ("scheme", "methods"),
    [
        ("int8", {"lsq", "ste"}),
        ("w2a2", {"lsq", "ste"}),
        ("hpr-w4a4", {"lsq", "ste"}),
        ("fp16", {"float_cast"}),
        ("bf16", {"float_cast"}),
        ("moons-4", {"moons", "ste"}),
        ("w1a1", {"binary", "lsq", "ste"}),
        ("wTERNARYa8", {"lsq", "ste"}),
    ],
)
def test_the_format_decides_the_method(residual, scheme, methods):
    net = prepare_qat(residual, scheme, input_scale=2 / 255)
    assert {q.method for q in quantizers(net).values()} == methods
    net.train()(torch.randn(4, 1, 8, 8)).sum().backward()
    net.eval()(torch.randn(2, 1, 8, 8))


def test_float32_is_a_plain_copy(mlp):
    copy = prepare_qat(mlp, "float32")
    assert quantizers(copy) == {}
    assert copy is not mlp
    for name, value in mlp.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)
        assert copy.state_dict()[name].data_ptr() != value.data_ptr()


def test_the_network_given_is_not_changed(conv):
    before = {name: value.clone() for name, value in conv.state_dict().items()}
    net = prepare_qat(conv, "w4a4")
    net.train()(torch.randn(4, 1, 8, 8)).sum().backward()
    assert quantizers(conv) == {}
    assert all(torch.equal(value, conv.state_dict()[name]) for name, value in before.items())
    assert {name for name in net.state_dict() if not name.startswith("quantizers.")} == set(before)


def test_weight_quantizers_know_their_parameter_and_are_initialized(conv):
    net = prepare_qat(conv, "w4a4")
    named = dict(net.named_parameters())
    for q in quantizers(net).values():
        if q.role == "weight":
            assert q.initialized
            assert named[q.parameter].shape[0] == q.scale.numel()
        else:
            assert not q.initialized


def test_the_input_scale_is_exact_only_for_an_8_bit_input(mlp):
    fixed = input_quantizer(prepare_qat(mlp, "w4a4", input_scale=2 / 255))
    assert fixed.parameters_exported().scale == torch.tensor(2 / 255).item()
    narrow = input_quantizer(prepare_qat(mlp, "w4a4[first=same]", input_scale=2 / 255))
    assert (str(narrow.tensor_format), narrow.config.range) == ("INT4", "minmax")
    unsigned = input_quantizer(prepare_qat(mlp, "int8", input_scale=1 / 255, image_signed=False))
    assert str(unsigned.tensor_format) == "UINT8"


def test_convolutions_see_levels_only(conv):
    """Every operand of a convolution is an integer times one scale, in range."""
    net = prepare_qat(conv, "w4a4").train()
    net(torch.randn(16, 1, 8, 8))
    net.eval()
    seen = []
    original = torch.nn.functional.conv2d

    def spy(x, weight, *rest):
        seen.append((x, weight))
        return original(x, weight, *rest)

    for node in net.module.graph.nodes:
        if node.op == "call_function" and node.target is original:
            node.target = spy
    net.module.recompile()
    net(torch.randn(2, 1, 8, 8))
    assert len(seen) == 2
    x, weight = seen[1]
    named = quantizers(net)
    weight_scale = named["quantizers.blocks_block2_conv1_weight"].scale.view(-1, 1, 1, 1)
    levels = weight / weight_scale
    assert torch.equal(levels, levels.round()) or torch.allclose(levels, levels.round(), atol=1e-5)
    assert levels.abs().max() <= 7
    assert len(torch.unique(x)) <= 16


def test_a_method_asked_for_trains_the_schemes_own_formats(mlp):
    config = QatConfig(activation=QuantizerConfig("pact"))
    found = described(prepare_qat(mlp, "w4a4", config))
    assert {method for name, (method, text) in found.items() if text == "UINT4"} == {"pact"}
    assert {method for name, (method, text) in found.items() if text == "UINT8"} <= {"lsq"}


def test_a_method_that_cannot_train_the_scheme_is_refused(mlp):
    with pytest.raises(
        QuantizerError, match=r"^hidden\.hidden2\.linear\.weight: dorefa cannot train weights in INT4"
    ):
        prepare_qat(mlp, "w4a4", QatConfig(weight=QuantizerConfig("dorefa")))


def test_moons_weights_start_between_minus_one_and_one(conv):
    net = prepare_qat(conv, "moons-4")
    assert uses_moons(net)
    assert not uses_moons(prepare_qat(conv, "w4a4"))
    moons_initialize(net, seed=3)
    weight = dict(net.named_parameters())["blocks.block2.conv1.weight"]
    assert -1 <= float(weight.detach().min()) < -0.9 and 0.9 < float(weight.detach().max()) <= 1
    again = prepare_qat(conv, "moons-4")
    moons_initialize(again, seed=3)
    assert torch.equal(dict(again.named_parameters())["blocks.block2.conv1.weight"], weight)


def test_a_shared_layer_has_one_quantizer():
    from torch import nn

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.shared(torch.relu(self.shared(torch.relu(self.first(x))))))

    net = prepare_qat(capture(Twice(), input_shape=(1, 4)), "w4a4")
    assert [path for path, q in quantizers(net).items() if q.parameter == "shared.weight"] == [
        "quantizers.shared_weight"
    ]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_compiles_into_one_graph(conv):
    torch._dynamo.reset()
    net = prepare_qat(conv, "w4a4").train()
    x = torch.randn(4, 1, 8, 8)
    net(x)
    expected = net.eval()(x)
    compiled = torch.compile(net.module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)


def test_a_network_without_ranges_evaluates_before_any_training(residual):
    net = prepare_qat(residual, "fp16").eval()
    assert torch.isfinite(net(torch.randn(2, 1, 8, 8))).all()


def test_a_checkpoint_of_other_quantizer_settings_is_refused(mlp, few, tmp_path):
    """Identity and swish gradients of w1a1 have the same weights, Formats and scheme."""

    def start(gradient):
        asked = QuantizerConfig("binary", gradient=gradient)
        return prepare_qat(mlp, "w1a1", QatConfig(weight=asked, activation=asked))

    settings = recipe("smoke", batch=100)
    train(start("identity"), few, settings, seed=0, workdir=tmp_path)
    train(start("identity"), few, settings, seed=0, workdir=tmp_path)
    with pytest.raises(CheckpointError, match=r"belongs to another training: its scheme differs; give"):
        train(start("swish"), few, settings, seed=0, workdir=tmp_path)


def test_a_checkpoint_of_another_teacher_is_refused(mlp, few, tmp_path):
    settings = recipe("smoke", batch=100)
    teacher, other = mlp.clone(), mlp.clone()
    with torch.no_grad():
        other.module.classifier.weight.add_(1e-3)
    train(mlp, few, settings, seed=0, teacher=teacher, workdir=tmp_path)
    train(mlp, few, settings, seed=0, teacher=teacher.module, workdir=tmp_path)
    for wrong in (other, None):
        with pytest.raises(CheckpointError, match=r"belongs to another training: its teacher differs; give"):
            train(mlp, few, settings, seed=0, teacher=wrong, workdir=tmp_path)


@pytest.mark.parametrize("mode", [True, False])
def test_a_teacher_teaches_in_evaluation_mode_and_gets_its_mode_back(mlp, few, mode):
    teacher = mlp.clone().train(mode)
    dropout = next(m for m in teacher.module.modules() if isinstance(m, torch.nn.Dropout))
    dropout.train(not mode)
    seen = []
    teacher.module.classifier.register_forward_hook(lambda module, *_: seen.append(module.training))
    train(mlp, few, recipe("smoke", batch=100), seed=0, teacher=teacher)
    assert seen and not any(seen)
    assert teacher.module.training == mode and dropout.training == (not mode)


class Halves(torch.nn.Module):
    """Two layers out of one parameter, as the projections of an attention are."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        self.both = torch.nn.Parameter(torch.randn(8, 4))

    def forward(self, x):
        x = torch.relu(self.first(x))
        left, right = (torch.nn.functional.linear(x, part) for part in (self.both[:4], self.both[4:]))
        return self.last(torch.relu(left + right))


@pytest.mark.parametrize(("scheme", "method"), [("moons-4", "moons"), ("w1a1", "binary")])
def test_latent_weights_that_are_part_of_a_parameter_are_refused(scheme, method):
    net = capture(Halves(), input_shape=(1, 4))
    with pytest.raises(QuantizerError) as error:
        prepare_qat(net, scheme)
    assert str(error.value) == (
        f"linear.weight: {method} clips latent weights to [-1, 1] after each step, but this layer reads a "
        f"part of a parameter, which is not clipped alone; give it another format "
        f"({scheme}{{linear:w8a8}}) or a parameter of its own"
    )
    prepare_qat(net, f"{scheme}{{linear:w8a8,linear_1:w8a8}}")
    quantized = prepare_qat(net, "w4a4").train()
    quantized(torch.randn(3, 4)).sum().backward()
    assert [q.parameter for q in quantizers(quantized).values() if q.role == "weight"].count(None) == 2
