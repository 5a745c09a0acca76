"""Successive vector approximation: vectors of the specification, budgets, storage, a plain oracle."""

import math
import time

import numpy as np
import pytest

from bitjoule.formats import approximate, csd_count, parse_format, sva

X9 = [0.875, -0.40625, 0.15625, 0.5, -0.0625, 0.25, 0.03125, -0.75, 0.09375]


@pytest.mark.parametrize(
    ("row", "ratio", "count", "values", "shifts", "terms"),
    [
        ([3, -1.25, 0.5, 0.125], 1.5, "csd", [3, -1.25, 0.5, 0.25], [-1, -2, -3, -4], 6),
        (X9, 1, "popcount", [0.875, -0.375, 0.125, 0.5, 0, 0.25, 0, -0.75, 0], [-1, -2, -2, -3], 10),
        (X9, 2, "csd", [0.8671875, -0.4140625, 0.15625, 0.5, -0.0625, 0.25, 0.03125, -0.75, 0.0859375],
         [-1, -2, -2, -3, -4, -5, -7, -6], 18),
        ([1, 0.5, 0.25, -0.125], 8, "popcount", [1, 0.5, 0.25, -0.125], [0, -1, -2, -4, -4], 4),
    ],
)  # fmt: skip
def test_vectors(row, ratio, count, values, shifts, terms):
    done = approximate(row, ratio, count=count)
    assert done.values().tolist() == values and done.terms == terms
    assert [step.exponent for step in done.steps] == shifts
    assert len(done.steps[0].members) == math.isqrt(len(row))


def test_csd_terms_of_the_second_vector():
    assert csd_count(approximate(X9, 1).integer).sum() == 9


def plain(row, ratio, fraction_bits=24):
    """The rules of the specification, entry by entry, terms by one bits."""
    n = 2.0 ** math.ceil(math.log2(max(map(abs, row))))
    r, y, used = [v / n for v in row], [0.0] * len(row), 0
    while used < int(ratio * len(row)):
        chosen = sorted(range(len(row)), key=lambda i: (-abs(r[i]), i))[: math.isqrt(len(row))]
        ip = sum(abs(r[i]) for i in chosen) / len(chosen)
        if ip == 0 or math.floor(math.log2(4 * ip / 3)) < -fraction_bits:
            break
        k = math.floor(math.log2(4 * ip / 3))
        for i in chosen:
            s = 1 if r[i] >= 0 else -1
            y[i], r[i] = y[i] + s * 2.0**k, r[i] - s * 2.0**k
        used = sum(abs(int(v * 2**fraction_bits)).bit_count() for v in y)
        if math.sqrt(sum(v * v for v in r)) <= 1e-6:
            break
    return [v * n for v in y], used


@pytest.mark.parametrize("ratio", [0.3, 1, 2.5, 6])
def test_against_a_plain_loop(ratio):
    rng = np.random.default_rng(5)
    for length in (1, 2, 9, 30, 144):
        row = np.round(rng.normal(size=length) * 64) / 64 + 1 / 128  # many ties
        values, terms = plain(row.tolist(), ratio)
        done = approximate(row, ratio)
        assert done.values().tolist() == values and done.terms == terms


def test_strict_never_passes_the_budget_and_terms_per_row_replaces_it():
    assert approximate(X9, 1, strict=True).terms <= 9 < approximate(X9, 1).terms
    row = np.random.default_rng(1).normal(size=64)
    for budget in (0, 5, 40):
        assert approximate(row, 1.0, strict=True, terms_per_row=budget).terms <= budget
    assert approximate(row, 9.0, terms_per_row=0).steps == ()


def test_a_row_of_zeros_and_an_empty_one():
    for row in (np.zeros(5), np.zeros(0)):
        done = approximate(row, 1)
        assert not done.integer.any() and (done.terms, done.steps, done.storage_bits()) == (0, (), 8)


def test_storage_layouts_by_hand():
    done = approximate([3, -1.25, 0.5, 0.125], 1.5, count="csd")
    # integers 12 -5 2 1: a sign and 4 bits each; 4 steps, 4 exponents, 2 members of 2 + 1 bits; 6 terms
    assert done.integer.tolist() == [12, -5, 2, 1] and done.exponent == -2
    assert done.layouts() == {"dense": 8 + 4 * 5, "steps": 8 + 4 * (2 + 2 * 3), "terms": 8 + 6 * (2 + 1 + 2)}
    assert done.layout == "dense" and done.storage_bits() == 28
    sparse = approximate(np.repeat([1.0, 0.0], [20, 380]), 0.05)  # one step of 20 members
    assert sparse.layout == "steps" and sparse.storage_bits() == 8 + 20 * 10


def test_sva_beats_the_greedy_search_at_equal_terms():
    """Normal weights, per row: SVA has the higher signal-to-noise ratio, with no more terms."""
    w = np.random.default_rng(2).normal(size=(32, 576))
    spot = parse_format("SPOT2")
    scale = spot.row_scale(np.abs(w).max(1, keepdims=True))
    greedy = spot.quantize(w, scale, rounding="greedy")
    terms = csd_count(greedy).sum()
    rows = [approximate(r, 1, terms_per_row=int(terms / 32), count="csd", strict=True) for r in w]
    assert sum(row.terms for row in rows) <= terms
    values = np.array([row.values() for row in rows])
    assert ((w - values) ** 2).sum() < ((w - greedy * scale) ** 2).sum()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: approximate([1.0, np.nan], 1), "approximate: row must hold finite values"),
        (lambda: approximate([1.0], 0), "approximate: ratio must be finite and > 0, not 0"),
        (lambda: approximate([1.0], 1, count="bits"), "approximate: count must be popcount or csd, "
                                                      "not 'bits'"),
        (lambda: approximate([1.0], 1, fraction_bits=60), "approximate: fraction_bits must be 0 to 50, "
                                                          "not 60"),
        (lambda: approximate([1.0], 1, terms_per_row=-1), "approximate: terms_per_row must be >= 0, not -1"),
        (lambda: parse_format("SVA0"), "unknown format 'SVA0': SVA takes a ratio above 0 and at most 24, "
                                       "such as SVA1 or SVA0.75"),
        (lambda: parse_format("SVA"), "unknown format 'SVA': SVA takes a ratio of terms per weight, such as "
                                      "SVA1 or SVA0.75"),
        (lambda: sva(1 / 3), "SVA takes a ratio of at most 6 decimals, not 0.3333333333333333"),
    ],
)  # fmt: skip
def test_errors(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text


def test_complex_rows_are_refused():
    with pytest.raises(TypeError, match="approximate: row must hold real numbers, not complex128"):
        approximate([1j], 1)


def test_canonical_names():
    assert (
        str(parse_format("sva1.50_csd_strict")) == "SVA1.5_CSD_STRICT"
        and str(parse_format("SVA02.0")) == "SVA2"
    )


def test_a_quarter_million_weights_take_less_than_five_seconds():
    w = np.random.default_rng(0).normal(size=(466, 576)).astype(np.float32)
    f = parse_format("SVA2")
    f.quantize(w[:1], f.row_scale(w[:1]))  # compiles
    start = time.process_time()
    f.quantize(w, f.row_scale(w))
    assert time.process_time() - start <= 5
