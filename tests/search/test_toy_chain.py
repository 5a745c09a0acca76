"""The toy chain of search.md section 9, brute force: fronts and hypervolumes are exact."""

from itertools import product

import pytest

from bitjoule.search.pareto import front, hypervolume
from tests.search.toy_chain import accuracy, energy_pj


def test_golden_points() -> None:
    assert energy_pj([2] * 6, [2] * 6) == 1_102_000
    assert accuracy([2] * 6, [2] * 6) == pytest.approx(0.7765625, rel=1e-12)
    assert energy_pj([8] * 6, [8] * 6) == 6_592_000
    assert accuracy([8] * 6, [8] * 6) == pytest.approx(0.8999698638916016, rel=1e-12)
    assert energy_pj([8] * 20, [8] * 20) == 23_600_000


def test_golden_front_of_six_layers() -> None:
    """531,441 candidates, front of 119 points. Parts of the sums are tabulated to be quick."""
    values = (2, 4, 8)
    base = energy_pj([0] * 6, [0] * 6)
    points, genomes = [], []
    weights = [
        (w, sum(1e4 * (1 + 3 * l % 7) * b for l, b in enumerate(w)), accuracy(w, [60] * 6))
        for w in product(values, repeat=6)
    ]
    inputs = [(a, energy_pj([0] * 6, a), accuracy([60] * 6, a)) for a in product(values, repeat=6)]
    macs = [0.003 * 1e6 * (1 + 7 * l % 5) for l in range(6)]
    top = accuracy([60] * 6, [60] * 6)
    # w outside, a inside: of points that are equal the first in genome order stays on the front
    for w, energy_w, accuracy_w in weights:
        prices = [m * b for m, b in zip(macs, w, strict=True)]
        for a, energy_a, accuracy_a in inputs:
            energy = energy_a + energy_w + sum(map(float.__mul__, prices, map(float, a)))
            points.append((energy, accuracy_w + accuracy_a - top))
            genomes.append((w, a))
    assert base == pytest.approx(0.5 * 8 * 1e4 * (1 + 30 % 6))
    kept = front([(round(energy), round(value, 12)) for energy, value in points])
    assert len(points) == 531_441
    assert len(kept) == 119
    assert genomes[kept[29]] == ((4, 2, 2, 4, 4, 4), (2, 2, 2, 4, 2, 4))
    assert points[kept[29]] == pytest.approx((1_630_000, 0.846875), rel=1e-9)
    assert points[kept[89]] == pytest.approx((3_932_000, 0.896954345703125), rel=1e-9)
    volume = hypervolume([points[i] for i in kept], (6_592_000, 0.0))
    assert volume == pytest.approx(0.6779131013755763, rel=1e-9)
