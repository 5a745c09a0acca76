"""Least divergence: printed vectors, and the rule written out as a slow loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import parse_calibrator
from bitjoule.quant.calibration.entropy import divergences, least_divergence
from tests.quant.calibration.laplace import laplace


@pytest.mark.parametrize(
    ("n", "text", "index", "threshold", "divergence"),
    [
        (1200, "INT8", 2048, 7.0900768, 0.0185597),
        (1200, "INT4", 1585, 5.4889242, 0.0293675),
        (1200, "INT2", 1732, 5.9978311, 0.0478176),
        (600, "INT4", 2048, 6.3969297, 0.0),
    ],
)
def test_printed_vectors(n, text, index, threshold, divergence):
    found = parse_calibrator("entropy").make("x")
    found.update(laplace(n))
    params = found.range(parse_tensor_format(text))
    levels = 1 << (params.format.bits - 1)
    table = divergences(found.histogram.counts[0], levels)
    best = least_divergence(table)
    assert best + levels == index
    assert table[best] == pytest.approx(divergence, abs=5e-8)
    assert float(params.scale) * params.format.max_level == pytest.approx(threshold, rel=2e-7)


def slow(h, levels):
    found = []
    for i in range(levels, len(h) + 1):
        p = h[:i].astype(float)
        p[-1] += h[i:].sum()
        q = np.zeros(i)
        for j in range(levels):
            a, b = j * i // levels, (j + 1) * i // levels
            nz = p[a:b] > 0
            if nz.any():
                q[a:b][nz] = h[a:b].sum() / nz.sum()
        if q.sum() == 0:
            found.append(np.inf)
            continue
        p, q = p / p.sum(), q / q.sum()
        nz = p > 0
        found.append((p[nz] * np.log(p[nz] / np.maximum(q[nz], 1e-12))).sum())
    return np.array(found)


@given(st.lists(st.integers(0, 20), min_size=16, max_size=48), st.sampled_from([2, 4, 8, 16]))
@settings(max_examples=150, deadline=None)
def test_prefix_sums_equal_the_loop(counts, levels):
    h = np.array(counts)
    if h.sum():
        np.testing.assert_allclose(divergences(h, levels), slow(h, levels), rtol=0, atol=1e-10)
