"""Rounding to small floats in torch equals the Formats in NumPy, to the bit and to the sign of zero."""

import numpy as np
import pytest
import torch

from bitjoule import zoo
from bitjoule.formats import Minifloat, parse_format, parse_tensor_format, registered_formats
from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig
from bitjoule.quant.float_grid import FloatGrid
from bitjoule.quant.ste import SteQuantizer
from bitjoule.train import prepare_qat
from bitjoule.train.qat import quantizers

NAMES = [
    name
    for name in registered_formats()
    if isinstance(fmt := parse_format(name), Minifloat) and FloatGrid.takes(fmt)
]


def edges(fmt, dtype):
    levels = torch.from_numpy(np.asarray(fmt.levels() if fmt.bits <= 12 else [fmt.max_level])).to(dtype)
    middles = (levels[1:] + levels[:-1]) / 2
    exact = torch.cat([levels, middles, torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e30, -1e30], dtype=dtype)])
    limit = torch.full_like(exact, torch.inf)
    random = torch.randn(2000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    spread = torch.exp2(torch.linspace(-20, 20, 2000, dtype=dtype))
    near = [torch.nextafter(exact, limit), torch.nextafter(exact, -limit)]
    return torch.cat([exact, *near, random * spread, torch.tensor([torch.inf, -torch.inf], dtype=dtype)])


def test_what_it_takes():
    assert {"FP8_E4M3", "FP8_E5M2", "FP6_E3M2", "FP6_E2M3", "FP4_E2M1", "FP3_E2M0", "FP12_E5M6"} <= set(NAMES)
    assert not {"FP16", "BF16", "FLOAT32", "FP19_E8M10", "FP12_E5M6_IEEE"} & set(NAMES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_format(name, dtype):
    fmt = parse_format(name)
    u = edges(fmt, dtype)
    found, expected = FloatGrid(fmt).nearest(u).numpy(), fmt.quantize(u.numpy())
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    assert FloatGrid(fmt).nearest(torch.tensor([torch.nan], dtype=dtype)).isnan().all()


def test_fp8_is_torchs_fp8():
    x = torch.randn(4000, generator=torch.Generator().manual_seed(1)).clamp(-400, 400)
    assert torch.equal(FloatGrid(parse_format("FP8_E4M3")).nearest(x), x.to(torch.float8_e4m3fn).float())
    assert torch.equal(FloatGrid(parse_format("FP8_E5M2")).nearest(x), x.to(torch.float8_e5m2).float())


@pytest.mark.parametrize("name", ["FP8_E4M3", "FP8_E5M2", "FP4_E2M1"])
def test_gradient_passes_inside_the_range(name):
    config = QuantizerConfig("ste", range="fixed", scale=0.5)
    q = SteQuantizer(parse_tensor_format(name), config, "activation", name="x")
    top = 0.5 * q.tensor_format.format.max_level
    x = torch.tensor([0.3, -0.7, top, -top, 1.01 * top, -2 * top], requires_grad=True)
    g = torch.tensor([1.0, -2.0, 3.0, 4.0, 5.0, 6.0])
    q(x).backward(g)
    assert x.grad.tolist() == [1.0, -2.0, 3.0, 4.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["FP8_E4M3", "FP6_E3M2"])
def test_a_network_of_small_floats_learns(name):
    torch.manual_seed(0)
    net = capture(zoo.build("tfc", {"inputs": 16}, 0), input_shape=(1, 1, 4, 4))
    qat = prepare_qat(net, f"w{name}a{name}").train()
    formats = {str(q.tensor_format) for q in quantizers(qat).values()}
    assert name in formats and formats <= {name, "INT8_NARROW/channel", "INT8", "UINT8"}
    x, labels = torch.randn(20, 1, 4, 4), torch.arange(20) % 10
    optimizer = torch.optim.SGD(qat.parameters(), lr=0.1)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(qat(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert torch.isfinite(qat.eval()(x)).all()
