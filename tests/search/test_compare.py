"""Iso-accuracy and iso-energy: golden vectors of search.md section 9, and properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.search.bootstrap import Replicates, bootstrap
from bitjoule.search.compare import Family, NoOverlap, iso_accuracy, iso_accuracy_attained, iso_energy
from tests.search.test_pareto import A, B

FAMILY_A, FAMILY_B = Family("w2a2", tuple(A)), Family("int8", tuple(B))
SEEDS_A = [
    Replicates(20, (0.62, 0.618, 0.624)),
    Replicates(60, (0.70, 0.703, 0.695)),
    Replicates(110, (0.72, 0.722, 0.716)),
]
SEEDS_B = [
    Replicates(45, (0.60, 0.597, 0.606)),
    Replicates(130, (0.69, 0.688, 0.694)),
    Replicates(250, (0.715, 0.718, 0.711)),
]

Points = tuple[tuple[float, float], ...]

families = st.lists(
    st.tuples(st.integers(1, 40).map(float), st.integers(1, 30).map(lambda a: a / 32)), min_size=1, max_size=8
).map(tuple)


def test_golden_iso_accuracy() -> None:
    saving = iso_accuracy(FAMILY_A, FAMILY_B)
    assert saving
    assert (saving.lo, saving.hi, saving.max_at) == (0.62, 0.715, 0.70)
    assert saving.max == pytest.approx(2.814432028603028, rel=1e-9)
    assert saving.min == pytest.approx(2.300326633791207, rel=1e-9)
    assert saving.median == pytest.approx(2.4544277874329348, rel=1e-9)


def test_golden_attained() -> None:
    saving = iso_accuracy_attained(FAMILY_A, FAMILY_B)
    assert saving
    assert saving.max == pytest.approx(4.166666666666667, rel=1e-9)
    assert saving.max_at == 0.70
    assert saving.median == pytest.approx(2.1666666666666665, rel=1e-9)


def test_golden_iso_energy() -> None:
    gain = iso_energy(FAMILY_A, FAMILY_B)
    assert gain
    assert (gain.lo_pj, gain.hi_pj, gain.max_at_pj) == (45.0, 110.0, 45.0)
    assert gain.max == pytest.approx(0.07865054247582548, rel=1e-9)
    assert gain.median == pytest.approx(0.05492583053938016, rel=1e-9)


def test_golden_bootstrap() -> None:
    means = [Family(name, tuple(c.mean for c in side)) for name, side in (("a", SEEDS_A), ("b", SEEDS_B))]
    saving = iso_accuracy(*means)
    assert saving
    assert saving.max == pytest.approx(2.8394551080964647, rel=1e-9)
    assert saving.max_at == pytest.approx(0.6206666666666667, rel=1e-9)
    assert saving.median == pytest.approx(2.6479895325982516, rel=1e-9)
    interval = bootstrap(("a", SEEDS_A), ("b", SEEDS_B), n_boot=1000, seed=0)
    assert interval is not None
    expected_max = (2.7184564223586523, 2.8741208107597465, 3.0928333477157683)
    expected_median = (2.4944329631727404, 2.642122597924348, 2.7515684019072015)
    assert interval.max == pytest.approx(expected_max, rel=1e-9)
    assert interval.median == pytest.approx(expected_median, rel=1e-9)
    assert (interval.dropped, interval.note) == (0, "")


def test_one_seed_is_drawn_from_the_test_set() -> None:
    one = [Replicates(10.0, (0.6,)), Replicates(20.0, (0.8,))]
    other = [Replicates(30.0, (0.6,)), Replicates(60.0, (0.8,))]
    interval = bootstrap(("a", one), ("b", other), n_boot=200, n_images=500)
    assert interval is not None
    assert interval.median[0] < 3.0 < interval.median[2]
    fixed = bootstrap(("a", one), ("b", other), n_boot=5)
    assert fixed is not None
    assert fixed.median == pytest.approx((3.0, 3.0, 3.0))


def test_dropped_replicates_are_counted_and_said() -> None:
    low, high = [Replicates(10.0, (0.5, 0.6))], [Replicates(20.0, (0.6, 0.6))]
    interval = bootstrap(("a", low), ("b", high), n_boot=100)
    assert interval is not None
    assert 60 <= interval.dropped <= 90
    assert interval.note == f"{interval.dropped} of 100 replicates had no common accuracy and were dropped"
    assert bootstrap(("a", [Replicates(1.0, (0.1,))]), ("b", high), n_boot=3) is None


def test_no_common_range_says_why() -> None:
    int8 = Family("int8", ((10e6, 0.61), (20e6, 0.72)))
    w2a2 = Family("w2a2", ((1e6, 0.40), (2e6, 0.58)))
    answer = iso_accuracy(int8, w2a2)
    assert not answer
    assert answer == NoOverlap("no common accuracy: int8 spans 61.0-72.0 %, w2a2 spans 40.0-58.0 %")
    assert iso_accuracy_attained(int8, w2a2) == answer
    assert iso_energy(int8, w2a2) == NoOverlap("no common energy: int8 spans 10-20 uJ, w2a2 spans 1-2 uJ")


def test_a_single_common_accuracy_is_valid() -> None:
    saving = iso_accuracy(Family("a", ((10.0, 0.5), (20.0, 0.6))), Family("b", ((30.0, 0.6),)))
    assert saving
    assert saving.lo == saving.hi == 0.6
    assert saving.max == saving.median == pytest.approx(1.5)
    attained = iso_accuracy_attained(Family("a", ((20.0, 0.6),)), Family("b", ((30.0, 0.6),)))
    assert attained
    assert attained.median == pytest.approx(1.5)


def test_a_family_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="family 'w4a4' has no finished trials to compare"):
        Family("w4a4", ())


@given(families, families)
def test_swapping_the_families_inverts_the_saving(first: Points, second: Points) -> None:
    a, b = Family("a", first), Family("b", second)
    forth, back = iso_accuracy(a, b), iso_accuracy(b, a)
    assert bool(forth) == bool(back)
    if forth and back:
        assert forth.max == pytest.approx(1 / back.min, rel=1e-9)
        assert forth.min * (1 - 1e-12) <= forth.median <= forth.max * (1 + 1e-12)


@given(families, families)
def test_attained_equals_a_dense_scan(first: Points, second: Points) -> None:
    """Oracle: read the step functions at every accuracy of a grid that holds all breakpoints."""
    saving = iso_accuracy_attained(Family("a", first), Family("b", second))
    if not saving:
        return

    def least(points: Points, accuracy: float) -> float:
        return min(e for e, a in points if a >= accuracy)

    cells = [k / 32 for k in range(1, 31) if saving.lo <= k / 32 <= saving.hi]
    ratios = [least(second, a) / least(first, a) for a in cells]
    assert saving.max == pytest.approx(max(ratios), rel=1e-9)
    assert saving.min == pytest.approx(min(ratios), rel=1e-9)
    if len(cells) > 1:
        steps = sorted(ratios[1:])
        assert saving.median == pytest.approx(steps[math.ceil(len(steps) / 2) - 1], rel=1e-9)
