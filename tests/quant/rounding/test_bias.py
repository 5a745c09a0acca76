"""Means of clipped normals against quadrature, and what goes into the bias."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.nn import functional

from bitjoule.quant.rounding import ChannelMean, RoundingError, bias_shift, clipped_normal_mean

VECTORS = [
    (0.5, 1, 0.6977966, 0.6977966),
    (-2, 0.75, 0.00088623, 0.00088623),
    (4, 2, 4.0169814, 3.8503505),
    (6.5, 0.5, 6.5, 5.9583423),
    (3, 0, 3, 3),
]


@pytest.mark.parametrize(("beta", "gamma", "relu", "relu6"), VECTORS)
def test_printed_vectors(beta, gamma, relu, relu6):
    mean, std = torch.tensor(float(beta)), torch.tensor(-float(gamma))
    assert clipped_normal_mean(mean, std, 0.0).item() == pytest.approx(relu, abs=6e-8)
    assert clipped_normal_mean(mean, std, 0.0, 6.0).item() == pytest.approx(relu6, abs=6e-8)


@pytest.mark.parametrize(("low", "high"), [(0.0, np.inf), (0.0, 6.0), (-1.0, 1.0), (-np.inf, 2.0)])
@pytest.mark.parametrize(("mean", "std"), [(0.5, 1.0), (-2.0, 0.75), (4.0, 2.0), (6.5, 0.5), (0.9, 0.01)])
def test_equals_quadrature(mean, std, low, high):
    ends = np.clip([mean - 12 * std, mean + 12 * std], low, high)
    found = quad(lambda x: x * norm.pdf(x, mean, std), *ends, epsabs=1e-12, limit=500)[0]
    if np.isfinite(low):
        found += low * norm.cdf(low, mean, std)
    if np.isfinite(high):
        found += high * norm.sf(high, mean, std)
    computed = clipped_normal_mean(*torch.tensor([mean, std], dtype=torch.float64), low, high)
    assert computed.item() == pytest.approx(found, abs=1e-8)


def test_no_clip_is_the_mean():
    assert clipped_normal_mean(torch.tensor(1.25), torch.tensor(2.0)).item() == 1.25


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_shift_makes_the_mean_output_equal(groups):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(5, 4, 6, 6, generator=g, dtype=torch.float64)
    w = torch.randn(8, 4 // groups, 1, 1, generator=g, dtype=torch.float64)
    rounded = (w * 2).round() / 2
    mean = ChannelMean()
    for part in x.split(2):
        mean.update(part)
    shift = bias_shift(w, rounded, mean.mean(), groups)
    before = functional.conv2d(x, w, groups=groups).mean((0, 2, 3))
    after = functional.conv2d(x, rounded, shift, groups=groups).mean((0, 2, 3))
    assert torch.allclose(before, after, rtol=0, atol=1e-12)


def test_empirical_vector():
    x = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 1.0]])
    w, rounded = torch.tensor([[0.4, -0.3, 0.9]]), torch.tensor([[0.5, -0.25, 1.0]])
    original, quantized = ChannelMean(), ChannelMean()
    original.update(x @ w.T)
    quantized.update(x @ rounded.T)
    assert (original.mean() - quantized.mean()).item() == pytest.approx(-0.275, abs=1e-6)


def test_refusals():
    w = torch.ones(4, 2, 1, 1)
    with pytest.raises(RoundingError, match=r"input_mean has the shape \(2,\), not \(3,\)"):
        bias_shift(w, w, torch.ones(3))
    with pytest.raises(
        RoundingError, match=r"before and after have one shape, not \(4, 2, 1, 1\) and \(4, 2\)"
    ):
        bias_shift(w, w[:, :, 0, 0], torch.ones(2))
    with pytest.raises(RoundingError, match=r"channel means: no values were seen"):
        ChannelMean().mean()
