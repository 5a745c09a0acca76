"""Every step of surgery computes what the network did: random chains, networks of the zoo (ptq.md 9.1)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.network import apply_scheme, capture, insert_quantizers
from bitjoule.network.equalize import equalize
from bitjoule.network.fold_forward import fold_all
from bitjoule.network.split import split_outliers
from tests.network.models import alike
from tests.network.random_chains import CHAINS, RandomChain, chain_input, lived_in
from tests.network.test_zoo_capture import SMALL, captured


@settings(max_examples=4, deadline=None, derandomize=True)
@given(CHAINS, st.integers(0, 1000))
def test_random_networks(steps: list[tuple[object, ...]], seed: int) -> None:
    check(steps, seed)


@pytest.mark.slow
@settings(max_examples=32, deadline=None, derandomize=True)
@given(CHAINS, st.integers(1001, 10000))
def test_more_random_networks(steps: list[tuple[object, ...]], seed: int) -> None:
    check(steps, seed)


def check(steps: list[tuple[object, ...]], seed: int) -> None:
    """Every step on one random chain."""
    torch.manual_seed(seed)
    net = capture(lived_in(RandomChain(steps)).eval(), input_shape=(1, 4, 8, 8))
    x = chain_input(seed)
    with torch.no_grad():
        expected = net(x)
        tolerance = 1e-4 * float(expected.max() - expected.min()) + 1e-6
        folded = fold_all(net)
        assert not [node for node in folded.graph.nodes if node.op == "batch_norm"]
        assert alike(folded(x), expected) <= tolerance
        assert alike(equalize(folded)(x), expected) <= tolerance
        equal = equalize(folded, relu6="per_channel")
        assert alike(equal(x), expected) <= tolerance
        split = split_outliers(equal, 0.1)
        assert alike(split(x), expected) <= tolerance
        assert split.workload().macs >= folded.workload().macs


ZOO = ["resnet20", "resnet8", "ds_cnn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("moons", "cnv"))]


@pytest.mark.parametrize("name", [*ZOO, pytest.param("mobilenet_v2_cifar", marks=pytest.mark.slow)])
def test_zoo_networks(name: str) -> None:
    torch.manual_seed(0)
    net = captured(name, **SMALL[name])[1].clone()
    lived_in(net.module)
    x = torch.randn(2, *net.graph.tensors[net.graph.inputs[0]].shape[1:])
    with torch.no_grad():
        expected = net(x)
        tolerance = 1e-4 * float(expected.max() - expected.min())
        folded = fold_all(net)
        assert not [node for node in folded.graph.nodes if node.op == "batch_norm"]
        assert alike(folded(x), expected) <= tolerance
        equal = equalize(folded, relu6="per_channel")
        assert alike(equal(x), expected) <= tolerance
        split = split_outliers(equal, 0.05)
        assert alike(split(x), expected) <= tolerance
    assert any(note.startswith("equalized ") for note in equal.notes)
    assert equal.workload().macs == folded.workload().macs < split.workload().macs or name == "ds_cnn"
    scheduled = apply_scheme(split, "w4a4")
    assert scheduled.assignment is not None
    identity = torch.nn.Identity()
    quantized = insert_quantizers(split, scheduled.assignment, lambda n, f: identity, lambda p: identity)
    with torch.no_grad():
        assert alike(quantized(x), expected) <= tolerance
