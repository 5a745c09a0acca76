"""Clips under a prior: printed minima, and the formulas against quadrature."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import clip_error, optimal_clip, parse_calibrator
from tests.quant.calibration.laplace import laplace

LAPLACE = (1.862817, 2.830683, 3.897229, 5.028640, 6.204766, 7.413126, 8.645620, 9.896760)
GAUSS = (1.23991, 1.71064, 2.15159, 2.55914, 2.93620, 3.28691, 3.61511, 3.92404)


def test_printed_minima():
    assert [optimal_clip(m, "laplace") for m in range(1, 9)] == pytest.approx(LAPLACE, abs=5e-7)
    assert [optimal_clip(m, "gauss") for m in range(1, 9)] == pytest.approx(GAUSS, abs=5e-6)


@pytest.mark.parametrize("prior", ["laplace", "gauss"])
def test_minimum_of_the_error(prior):
    t = optimal_clip(4, prior)
    around = [clip_error(t + d, 4, prior) for d in (-1e-3, 0.0, 1e-3)]
    assert around[1] < min(around[0], around[2])


def test_gauss_error_is_the_clipped_tail_plus_rounding():
    tail = 2 * quad(lambda x: (x - 1.5) ** 2 * norm.pdf(x), 1.5, np.inf)[0]
    assert clip_error(1.5, 3, "gauss") == pytest.approx(tail + 1.5**2 / (3 * 4**3), abs=1e-10)


def test_auto_takes_the_prior_of_the_values():
    z = (np.arange(2000) + 0.5) / 2000
    for x, prior in ((laplace(2000), "laplace"), (torch.from_numpy(norm.ppf(z)), "gauss")):
        scales = {}
        for name in ("auto", "laplace", "gauss"):
            found = parse_calibrator(f"aciq({name})").make("x")
            found.update(x)
            scales[name] = float(found.range(parse_tensor_format("INT4")).scale)
        assert scales["auto"] == scales[prior]
        assert scales["laplace"] != scales["gauss"]


def test_threshold_is_the_clip_in_units_of_the_spread():
    x = laplace(1200)
    found = parse_calibrator("aciq(laplace)").make("x")
    found.update(x)
    scale = float(found.range(parse_tensor_format("INT4")).scale)
    assert scale * 7 == pytest.approx(LAPLACE[3] * x.abs().mean().item(), rel=1e-6)


def test_non_negative_tensors_are_priced_with_one_bit_more():
    x = laplace(1200).abs()
    found = parse_calibrator("aciq(gauss)").make("x")
    found.update(x)
    scale = float(found.range(parse_tensor_format("UINT2")).scale)
    spread = x.std(correction=0).item()
    assert scale * 3 == pytest.approx(x.mean().item() + GAUSS[2] * spread, rel=1e-5)
