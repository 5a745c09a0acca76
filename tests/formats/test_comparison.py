"""Signal to noise, terms and bits of formats on weights; known figures where the weights are at hand."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from bitjoule.formats import parse_format, registered_formats
from bitjoule.formats.comparison import fit_format, fit_sva_to_terms, restore

SHARED = Path(os.environ.get("BITJOULE_DATA", "../shared/data")) / "weights" / "resnet20-12fca82f.th"


@pytest.fixture(scope="module")
def resnet20():
    if not SHARED.is_file():
        pytest.skip("no weights/resnet20-12fca82f.th under BITJOULE_DATA")
    from bitjoule.zoo.weights import read_weights

    return {name: t.numpy() for name, t in read_weights(SHARED).items() if t.ndim >= 2}


# Targets of the specification, section 5
@pytest.mark.parametrize(
    ("name", "terms", "sqnr_db"),
    [("SVA1", 0.999, 19.44), ("SVA1.5", 1.414, 27.17), ("SVA2", 1.791, 34.08), ("SVA3", 2.500, 46.90),
     ("INT4_NARROW", 0.934, 16.84), ("INT6_NARROW", 1.631, 29.75), ("INT8_NARROW", 2.298, 41.92),
     ("SPOT1", 0.945, 14.17), ("SPOT2", 1.622, 27.86), ("SPOT3_9", 2.356, 41.50)],
)  # fmt: skip
def test_resnet20(resnet20, name, terms, sqnr_db):
    fit = fit_format(resnet20, name)
    assert fit.terms == pytest.approx(terms, abs=6e-4) and fit.sqnr_db == pytest.approx(sqnr_db, abs=6e-3)


@pytest.mark.parametrize("name", ["SPOT1_4", "SPOT1", "SPOT2_4", "SPOT2", "SPOT3_9"])
def test_sva_is_above_greedy_at_equal_terms(resnet20, name):
    greedy, successive = fit_format(resnet20, name), fit_sva_to_terms(resnet20, name)
    assert 0.7 <= successive.terms <= greedy.terms and successive.sqnr_db > greedy.sqnr_db + 0.5


def test_by_hand():
    w = np.array([[4.0, 1.5, -0.25, 0.0]])
    fit = fit_format({"w": w}, "INT3_NARROW")  # scale 4/3: levels 3 1 0 0
    error = [0.0, 1.5 - 4 / 3, -0.25, 0.0]
    assert fit.sqnr_db == pytest.approx(10 * math.log10((w**2).sum() / np.square(error).sum()))
    assert fit.terms == (2 + 1) / 4 and fit.bits == 3 + 32 / 4
    assert restore(w, "BIPOLAR").tolist() == [[1.4375, 1.4375, -1.4375, 1.4375]]


@pytest.mark.parametrize("name", registered_formats(self_scaling=True))
def test_every_format_holds_weights(name):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4, 2, 2)).astype(np.float32)
    f = parse_format(name)
    fit = fit_format({"w": w}, f)
    assert fit.name == name and fit.bits > 0 and (fit.terms is None) == (f.kind in ("float", "block"))
    assert restore(w, f).shape == w.shape
    zeros = restore(np.zeros((2, 3)), f)
    assert (zeros == 0).all() or not f.has_zero


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({}, "there are no weights to compare formats on"),
        ({"b": np.ones(3)}, r"weights 'b' of shape \(3,\) are no rows"),
        ({"w": np.zeros((2, 2))}, "all weights are 0"),
        ({"w": np.full((2, 2), np.nan)}, "weights 'w' hold NaN or infinity"),
    ],
)
def test_errors(weights, text):
    with pytest.raises(ValueError, match=text):
        fit_format(weights, "INT4")


@pytest.mark.parametrize("size", [1e200, 1e-310])
def test_weights_whose_squares_leave_float64_are_refused(size):
    weights = {"fc": np.array([[1.0, 0.5], [size, -size]])}
    for name in ("INT4", "FLOAT32", "SVA1", "MXFP4_E2M1"):
        with pytest.raises(
            ValueError, match="weights 'fc' hold a row whose largest magnitude is outside 1e-150"
        ):
            fit_format(weights, name)
    assert fit_format({"fc": np.array([[1e-140, 0.0], [0.0, 0.0]])}, "INT4").sqnr_db > 100
