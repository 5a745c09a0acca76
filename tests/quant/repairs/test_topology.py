"""Every topology repair on a tiny binary network: shape, gradients, state, composition, refusals."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
from torch import Tensor, fx

from bitjoule import zoo
from bitjoule.network import Network, NetworkError, apply_scheme, capture
from bitjoule.quant.repairs import apply, repaired
from bitjoule.scheme import REPAIRS, RepairError, SchemeError
from bitjoule.train.qat import prepare_qat
from bitjoule.workload import workload_of

TOPOLOGY = (*(entry.name for entry in REPAIRS.values() if entry.rewrites), "bases_2")
ALL = (
    "hp_downsample",
    "pre_bn",
    "double_residual",
    "learned_shift",
    "scale_xnorpp",
    "se8",
    "bn_out",
    "rprelu",
)
SETS = [*((name,) for name in TOPOLOGY), ALL, (*ALL, "bases_3")]


@functools.cache
def resnet() -> Network:
    """Blocks with an identity, and with slice-and-pad shortcuts."""
    model = zoo.build("resnet20", {"width": 0.5}, seed=0)
    model.layer1, model.layer3 = model.layer1[:1], torch.nn.Identity()
    model.layer2 = model.layer2[:1]
    model.linear = torch.nn.Linear(16, 4)
    return capture(model, input_shape=(1, 3, 8, 8), name="tiny")


@functools.cache
def chain() -> Network:
    model = zoo.moons(depths=(2, 1), filters=(8, 16), image_size=8, activation="hardtanh", classes=4)
    return capture(model, input_shape=(1, 3, 8, 8), name="chain")


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def trained(net: Network, scheme: str) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a dead unit of a branch of one unit has no range
        quantized = prepare_qat(net, scheme)
        quantized(images())
    return quantized


@pytest.mark.parametrize("names", SETS, ids="+".join)
@pytest.mark.parametrize("make", [resnet, chain])
def test_a_repaired_network_runs_and_learns(make: object, names: tuple[str, ...]) -> None:
    net = make()  # type: ignore[operator]
    before = net.state_dict()
    made = apply(net, names)
    assert made.graph.repairs == tuple(sorted(names, key=[*REPAIRS, *names].index))
    assert made.graph == workload_graph(net, names)
    assert sum(parameter.numel() for parameter in made.parameters()) == made.graph.parameter_elements
    out = made(images())
    assert out.shape == (6, 4)
    torch.autograd.backward(out.square().sum())
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert net.state_dict().keys() == before.keys() and not net.graph.repairs


def workload_graph(net: Network, names: tuple[str, ...]) -> object:
    from bitjoule.scheme import parse_scheme
    from bitjoule.workload.repairs import repaired_graph

    return repaired_graph(net.graph, parse_scheme("+".join(("w1a1", *names))))


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_quantized_training_of_a_repaired_network(names: tuple[str, ...]) -> None:
    scheme = "+".join(("w1a1", *names))
    quantized = trained(resnet(), scheme)
    out = quantized(images())
    torch.autograd.backward(out.square().sum())
    added = [name for name, parameter in quantized.named_parameters() if name.startswith("repairs.")]
    flows = {name for name, p in quantized.named_parameters() if p.grad is not None and bool(p.grad.any())}
    binary = [name for name in flows if name.endswith("conv2.weight")]
    assert binary and all(parameter.grad is not None for parameter in quantized.parameters())
    silent = [name for name in added if name not in flows and ".se_" not in name and "_se_" not in name]
    assert not silent
    assert quantized.workload() == workload_of(resnet().graph, scheme)


def test_state_goes_to_another_network_of_the_scheme() -> None:
    scheme = "+".join(("w1a1", *ALL))
    first = trained(resnet(), scheme).eval()
    second = trained(resnet(), scheme)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images()), second.eval()(images()))


def test_new_weights_are_the_same_every_time() -> None:
    torch.manual_seed(1)
    first = apply(resnet(), ["se8", "hp_downsample"]).state_dict()
    before = torch.random.get_rng_state()
    second = apply(resnet(), ["se8", "hp_downsample"]).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_repairs_that_start_neutral_change_nothing_yet() -> None:
    net = chain()
    for name in ("learned_shift", "scale_xnorpp"):
        same = apply(net, [name]).eval()
        plain = apply(net, ["bn_out"]).eval()  # only takes out the clips: every result has a norm already
        torch.testing.assert_close(same(images()), plain(images()))


def test_the_scale_of_the_input_is_its_box_filtered_magnitude() -> None:
    made = apply(chain(), ["scale_input"]).eval()
    layer = next(n.name.removesuffix(".box") for n in made.graph.nodes if n.name.endswith(".box"))
    run = fx.Interpreter(made.module, garbage_collect_values=False)
    run.run(images())
    values = {node.meta["bitjoule"]: value for node, value in run.env.items() if "bitjoule" in node.meta}
    x = values[made.graph.node(layer).inputs[0]]
    box = torch.full((1, 1, 3, 3), 1 / 9)
    expected = torch.conv2d(x.abs().mean(1, keepdim=True), box, padding=1)
    torch.testing.assert_close(values[f"{layer}.box"], expected)
    torch.testing.assert_close(values[f"{layer}.scaled"], values[layer] * expected)


def test_bases_start_from_what_the_signs_left() -> None:
    made = apply(chain(), ["bases_2"])
    state = made.state_dict()
    key = next(name for name in state if name.startswith("repairs.") and name.endswith("base1.weight"))
    owner = next(n.name for n in made.graph.nodes if n.attributes.get("base") == 1)
    first = state[f"{owner.removesuffix('.base1')}.weight"]
    magnitude = first.abs().mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(state[key], first - magnitude * torch.where(first >= 0, 1.0, -1.0))


def test_a_downsample_keeps_its_weights_and_loses_its_stride() -> None:
    model = zoo.build("resnet20", {"width": 0.5, "option": "B"}, seed=0)
    net = capture(model, input_shape=(1, 3, 8, 8))
    made = apply(net, ["hp_downsample"])
    assert made.state_dict().keys() == net.state_dict().keys()
    assert made.module.get_submodule("layer2.0.shortcut.0").stride == (1, 1)
    assert net.module.get_submodule("layer2.0.shortcut.0").stride == (2, 2)


def test_the_scheme_of_a_network_decides_what_is_binary() -> None:
    net = apply_scheme(chain(), "w4a4")
    with pytest.raises(
        RepairError, match=r"chain has no layer with binary weights and input under scheme 'w4a4'"
    ):
        apply(net, ["prelu"])
    only = apply(chain(), ["prelu"], "w4a4{blocks.block2.*:w1a1}")
    assert [n.op for n in only.graph.nodes].count("prelu") == 1


def test_training_repairs_add_no_operators() -> None:
    made = apply(chain(), ["two_stage", "grad=approx"])
    assert made.graph is chain().graph


def test_refusals() -> None:
    with pytest.raises(RepairError, match="unknown repair 'rpelu', did you mean 'rprelu'"):
        apply(chain(), ["rpelu"])
    with pytest.raises(RepairError, match="repairs 'prelu' and 'rprelu' exclude each other"):
        apply(chain(), ["rprelu", "prelu"])
    with pytest.raises(
        SchemeError, match=r"chain has no operators of repair 'rprelu' yet; repair the network"
    ):
        apply_scheme(chain(), "w1a1+rprelu")
    assert apply_scheme(repaired(chain(), "w1a1+rprelu"), "w1a1+rprelu").assignment is not None
    with pytest.raises(NetworkError, match="quantizers of scheme 'w1a1' are inserted already; repair before"):
        apply(trained(chain(), "w1a1"), ["rprelu"])
