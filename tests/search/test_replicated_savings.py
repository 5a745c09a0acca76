"""Many replicates at once against `iso_accuracy`, one at a time."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.search.bootstrap import Replicates, bootstrap
from bitjoule.search.compare import Family, iso_accuracy
from bitjoule.search.replicated_savings import ROWS, replicated_savings

ROW_COUNT = 4


@st.composite
def sides(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Energies and accuracies; few values each, so that ties and repeated points happen."""
    energies = draw(st.lists(st.sampled_from([1.0, 2.0, 3.5, 8.0, 20.0, 21.0]), min_size=1, max_size=6))
    row = st.lists(st.integers(20, 40).map(lambda k: k / 41), min_size=len(energies), max_size=len(energies))
    return np.array(energies), np.array([draw(row) for _ in range(ROW_COUNT)])


@given(sides(), sides())
@settings(max_examples=200)
def test_each_replicate_equals_iso_accuracy(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> None:
    expected = []
    for row in range(ROW_COUNT):
        families = [
            Family(name, tuple(zip(side[0].tolist(), side[1][row].tolist(), strict=True)))
            for name, side in (("a", a), ("b", b))
        ]
        if saving := iso_accuracy(*families):
            expected.append((saving.max, saving.median))
    found = replicated_savings(a, b)
    assert len(found.max) == len(found.median) == len(expected)
    np.testing.assert_allclose(np.array(found).T.reshape(-1, 2), np.reshape(expected, (-1, 2)), rtol=1e-9)


def test_blocks_of_replicates_are_joined() -> None:
    rng = np.random.default_rng(0)
    a, b = ((np.array([1.0, 2.0, 4.0]) * k, rng.uniform(0.5, 0.9, (ROWS + 7, 3))) for k in (1, 3))
    whole = replicated_savings(a, b)
    parts = [
        replicated_savings((a[0], a[1][rows]), (b[0], b[1][rows])) for rows in (slice(0, 9), slice(9, None))
    ]
    np.testing.assert_array_equal(whole.median, np.concatenate([part.median for part in parts]))
    assert len(whole.max) < ROWS + 7  # some have no common accuracy


@pytest.mark.parametrize("points", [3, 7])
def test_a_thousand_replicates_take_a_fraction_of_a_second(points: int) -> None:
    rng = np.random.default_rng(1)
    a, b = (
        [Replicates(float(k * 2.0**p), (float(rng.uniform(0.8, 0.9)),)) for p in range(points)]
        for k in (1, 3)
    )
    start = time.process_time()
    for _ in range(3):
        assert bootstrap(("a", a), ("b", b), n_boot=1000, n_images=300) is not None
    assert time.process_time() - start < 3 * 0.12
