"""Every quantizer keeps the contract; every method has cases."""

import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig
from tests.quant.conformance import CASES, CHECKS, Case


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def test_every_method_has_cases():
    own = {"deepshift_ps"}  # bound to the shape of its weight: test_deepshift.py
    assert {case.config.method for case in CASES} | own == set(METHODS)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
@pytest.mark.parametrize(
    "case",
    [
        Case("INT4_NARROW/channel", QuantizerConfig("lsq"), "weight"),
        Case("UINT4", QuantizerConfig("pact"), "activation"),
        Case("MOONS4", QuantizerConfig("moons"), "weight"),
        Case("BIPOLAR", QuantizerConfig("binary"), "activation"),
        Case("INT8", QuantizerConfig("ste"), "activation"),
        Case("UINT4+zp", QuantizerConfig("lsq+"), "activation"),
        Case("INT4/channel*pot", QuantizerConfig("tqt"), "weight"),
        Case("APOT4", QuantizerConfig("apot"), "weight"),
        Case("UAPOT4", QuantizerConfig("apot"), "activation"),
        Case("POT4_DS", QuantizerConfig("deepshift_q"), "weight"),
        Case("POT5_INQ", QuantizerConfig("inq"), "weight"),
        Case("TERNARY/channel", QuantizerConfig("twn"), "weight"),
        Case("BIPOLAR/channel", QuantizerConfig("binary", normalize="xnor", gradient="eda"), "weight"),
    ],
    ids=str,
)
def test_compiles_into_one_graph_with_the_same_values_and_gradients(case):
    torch._dynamo.reset()
    plain = case.make().train()
    plain.initialize(case.values())
    compiled_q = case.make().train()
    compiled_q.load_state_dict(plain.state_dict())
    compiled = torch.compile(compiled_q, backend="aot_eager", fullgraph=True)
    x, y = (case.values(1).contiguous(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    a, b = plain(x), compiled(y)
    assert torch.equal(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for p, q in zip(plain.parameters(), compiled_q.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_a_transposed_axis_scales_the_second_dimension():
    q = METHODS["lsq"](
        parse_tensor_format("INT8_NARROW/channel"),
        QuantizerConfig("lsq"),
        "weight",
        name="up",
        axis=1,
        channels=5,
    )
    x = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    x[:, 2] *= 100
    q.initialize(x)
    assert q.scale.shape == (5,)
    assert int(q.scale.argmax()) == 2
    q(x).sum().backward()
    assert q.scale.grad.shape == (5,)
