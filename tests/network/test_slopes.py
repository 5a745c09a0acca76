"""PReLU and DPReLU against torch's own functions."""

import pytest
import torch
from torch import nn

from bitjoule.network import capture
from bitjoule.network.slopes import DPReLU, PReLU, TwoSlopes
from bitjoule.zoo.bireal import BinaryUnit

EDGES = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 2.0, -2.0]).repeat(3, 4, 1)


def inputs(layout=torch.contiguous_format):
    x = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_prelu_is_torchs(layout):
    ours, theirs = PReLU(4), nn.PReLU(4)
    with torch.no_grad():
        for module in (ours, theirs):
            module.weight.copy_(torch.tensor([0.25, -1.0, 0.0, 3.0]))
    x, y = inputs(layout), inputs(layout)
    a, b = ours(x), theirs(y)
    assert torch.equal(a, b) and a.stride() == b.stride()
    (a * a).sum().backward()
    (b * b).sum().backward()
    assert torch.equal(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_prelu_at_zero_and_nan_is_torchs():
    x, y = (EDGES.clone().requires_grad_() for _ in range(2))
    PReLU(4)(x).sum().backward()
    nn.PReLU(4)(y).sum().backward()
    assert torch.equal(x.grad, y.grad)
    assert PReLU(2)(torch.full((1, 2), float("nan"))).isnan().all()


def test_dprelu_is_a_choice_of_two_products():
    module = DPReLU(4)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.25, -1.0, 0.0, 3.0]))
        module.positive.copy_(torch.tensor([1.0, 0.5, -2.0, 0.0]))
    low, high = (p.detach().view(1, -1, 1).clone().requires_grad_() for p in (module.weight, module.positive))
    x, y = (EDGES.clone().requires_grad_() for _ in range(2))
    out, reference = module(x), torch.where(y < 0, y * low, y * high)
    assert torch.equal(out, reference)
    out.square().sum().backward()
    reference.square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    torch.testing.assert_close(module.weight.grad, low.grad.flatten())
    torch.testing.assert_close(module.positive.grad, high.grad.flatten())


def test_gradients_in_float64():
    x = inputs().detach().double().requires_grad_()
    a, b = (torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *args: TwoSlopes.apply(*args, None), (x, a))
    assert torch.autograd.gradcheck(TwoSlopes.apply, (x, a, b))


def test_sixteen_bits_keep_their_dtype():
    x = inputs().detach().to(torch.bfloat16)
    assert PReLU(4)(x).dtype == torch.bfloat16
    assert DPReLU(4)(x).dtype == torch.bfloat16


def test_networks_train_with_it_whoever_made_them():
    """`capture` puts it in the place of nn.PReLU, with its parameters and names."""
    model = BinaryUnit(4, 4, 1, react=True)
    net = capture(model, input_shape=(1, 4, 6, 6))
    assert type(net.module.rprelu.prelu) is PReLU and type(model.rprelu.prelu) is nn.PReLU
    assert type(net.clone().module.rprelu.prelu) is PReLU
    assert list(net.state_dict()) == list(model.state_dict())
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    results = [either.train()(x) for either in (model, net.module)]
    assert torch.equal(*results)
    for result in results:
        result.square().sum().backward()
    for (name, a), b in zip(model.named_parameters(), net.module.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4, msg=name)
