"""Curves and budgets of successive vector approximation."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from bitjoule.formats import approximate, csd_count
from bitjoule.quant.rounding import RoundingError, SvaLayer, allocate_terms, integer_terms
from bitjoule.quant.rounding.sva_curve import row_curve

ROW = np.array([0.7, -0.3, 0.05, -0.9, 0.44, 0.61, -0.12, 0.25, 0.33])
PRINTED = {
    2: (5, [0.5, 0, 0, -1, 0.5, 0.5, 0, 0, 0.5]),
    4: (11, [0.75, -0.25, 0, -1, 0.5, 0.625, -0.125, 0.25, 0.375]),
    6: (19, [0.6875, -0.3125, 0.0625, -0.9375, 0.4375, 0.625, -0.125, 0.25, 0.3125]),
}


def test_printed_vectors():
    curve = row_curve(ROW, np.ones(9), most_terms=30)
    for steps, (terms, values) in PRINTED.items():
        assert curve.terms[steps] == terms
        assert curve.values(steps).tolist() == values
        assert curve.error[steps] == pytest.approx(((ROW - values) ** 2).sum(), abs=1e-12)
    csd = row_curve(ROW, np.ones(9), count="csd", most_terms=30)
    assert csd.terms[6] == 16


@pytest.mark.parametrize("count", ["popcount", "csd"])
def test_curves_equal_the_approximation(count):
    rng = np.random.default_rng(0)
    for _ in range(10):
        row, weight = rng.normal(size=30) * 3, rng.random(30)
        curve = row_curve(row, weight, count=count, most_terms=60)
        for steps in range(1, len(curve.terms)):
            done = curve.values(steps)
            assert curve.error[steps] == pytest.approx((weight * (row - done) ** 2).sum(), rel=1e-9)
            whole = np.ldexp(done, 40).astype(np.int64)
            ones = csd_count(whole).sum() if count == "csd" else sum(int(abs(v)).bit_count() for v in whole)
            assert curve.terms[steps] == ones
        last = approximate(row, 1.0, count=count, strict=True, terms_per_row=60)
        np.testing.assert_array_equal(curve.values(len(curve.terms) - 1), last.values())


def test_hull_is_convex_and_below_the_curve():
    rng = np.random.default_rng(1)
    curve = row_curve(rng.laplace(size=64), np.ones(64), most_terms=200)
    hull = curve.hull()
    terms, error = curve.terms[hull], curve.error[hull]
    slope = np.diff(error) / np.diff(terms)
    assert (np.diff(terms) > 0).all()
    assert (slope < 0).all()
    assert (np.diff(slope) >= 0).all()
    between = np.interp(curve.terms, terms, error)
    assert (curve.error[curve.terms <= terms[-1]] >= between[curve.terms <= terms[-1]] - 1e-9).all()


def layers():
    rng = np.random.default_rng(2)
    shapes = [(8, 27), (16, 36), (4, 100)]
    return [
        SvaLayer(
            f"conv{i}", rng.laplace(size=s) * rng.random((s[0], 1)), rng.random(s[1])[None].repeat(s[0], 0)
        )
        for i, s in enumerate(shapes)
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.75, 1.0, 2.0])
@pytest.mark.parametrize("count", ["popcount", "csd"])
def test_budget_is_kept_and_beats_the_equal_ratio(ratio, count):
    parts = layers()
    budget = int(ratio * sum(p.rows.size for p in parts))
    found = allocate_terms(parts, budget, count=count)
    assert found.asked == budget
    assert found.used <= budget
    assert found.used == sum(int(t.sum()) for t in found.terms)
    error = sum(float((p.weight * (p.rows - v) ** 2).sum()) for p, v in zip(parts, found.values, strict=True))
    assert found.error == pytest.approx(error)
    equal = 0.0
    for p in parts:
        for row, weight in zip(p.rows, p.weight, strict=True):
            most = int(ratio * len(row))
            done = approximate(row, 1.0, count=count, strict=True, terms_per_row=most).values()
            equal += float((weight * (row - done) ** 2).sum())
    assert found.error <= equal * (1 + 1e-12)
    if ratio > 0:
        assert found.used > 0.9 * budget
        assert found.rule == "error"


def test_terms_go_where_errors_weigh():
    rows = np.random.default_rng(3).normal(size=(1, 40))
    heavy = SvaLayer("heavy", rows, np.full((1, 40), 100.0))
    light = SvaLayer("light", rows, np.full((1, 40), 1.0))
    found = allocate_terms([light, heavy], 60)
    assert found.terms[1].sum() > 2 * found.terms[0].sum()


def test_iso_terms_above_four_bit_integers():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(32, 144)) * np.exp(rng.normal(size=(32, 1)))
    budget = integer_terms(rows, "INT4")
    assert 0.5 < budget / rows.size < 1.5
    found = allocate_terms([SvaLayer("w", rows, np.ones_like(rows))], budget)
    scale = np.abs(rows).max(1, keepdims=True) / 7
    integer = np.clip(np.rint(rows / scale), -8, 7) * scale
    assert found.error < ((rows - integer) ** 2).sum()


def test_refusals():
    with pytest.raises(RoundingError, match=r"allocate_terms: the budget must be >= 0 terms, not -1"):
        allocate_terms(layers(), -1)
    bad = SvaLayer("conv1", np.ones((2, 3)), np.ones(3))
    with pytest.raises(RoundingError, match=r"conv1: rows and weights of errors have one shape \(rows, n\)"):
        allocate_terms([bad], 5)


def test_resnet20_at_the_terms_of_four_bit_integers(bitjoule_data):
    path = bitjoule_data / "weights" / "resnet20-cifar10-jpeg.safetensors"
    weights = {name: w for name, w in load_file(path).items() if w.ndim >= 2}
    parts = [
        SvaLayer(name, w.reshape(len(w), -1).astype(np.float64), np.ones((len(w), w[0].size)))
        for name, w in weights.items()
    ]
    budget = sum(integer_terms(p.rows) for p in parts)
    assert budget / sum(p.rows.size for p in parts) == pytest.approx(0.93, abs=0.005)
    found = allocate_terms(parts, budget)
    assert found.used <= budget
    four_bits = 0.0
    for p in parts:
        scale = np.abs(p.rows).max(1, keepdims=True) / 7
        four_bits += float(((p.rows - np.rint(p.rows / scale) * scale) ** 2).sum())
    assert found.error < 0.55 * four_bits  # 19.7 dB against 16.8 dB
