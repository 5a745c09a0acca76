"""Sensitivities become losses; predictions are compared with what came."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.search.programme import ProgrammeError
from bitjoule.search.programme_sensitivity import agreement, losses, pool_adjacent_violators

VALUES = st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=8)


@given(VALUES)
def test_pooling_gives_the_nearest_non_increasing_sequence(values: list[float]) -> None:
    pooled = np.array(pool_adjacent_violators(values))
    assert np.all(np.diff(pooled) <= 1e-12)
    assert pooled.sum() == pytest.approx(sum(values), abs=1e-9)
    # Kuhn-Tucker: prefix sums lie below those of the values (non-increasing cone), equal where blocks end
    prefix = np.cumsum(pooled) - np.cumsum(values)
    ends = np.append(np.abs(np.diff(pooled)) > 1e-9, True)
    assert np.all(prefix >= -1e-9) and np.allclose(prefix[ends], 0, atol=1e-8)


def test_losses_are_pooled_by_bits_and_clamped() -> None:
    measured = {"2": 0.5, "3": 0.7, "4": 0.1, "8": -0.2, "POT4": -0.1, "APOT4": 0.3}
    found = losses(measured, ("8", "2", "POT4", "3", "4", "APOT4"))
    assert found == pytest.approx((0.0, 0.6, 0.0, 0.6, 0.1, 0.3))
    with pytest.raises(ProgrammeError) as caught:
        losses({"2": math.nan}, ("2", "4"), of="conv1")
    assert str(caught.value) == "sensitivity of 'conv1' at '2' must be a finite number, not nan; measured: 2"


def test_agreement_warns_under_its_threshold() -> None:
    good = agreement([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.4, 0.3])
    assert good.tau == pytest.approx(2 / 3) and good.warning == "" and good.points == 4
    poor = agreement([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert poor.warning == "additive sensitivities do not describe this network (Kendall tau -1.00)"
    assert "fewer than two" in agreement([1.0], [1.0]).warning
    with pytest.raises(ProgrammeError, match="2 predictions need as many real losses, not 1"):
        agreement([1.0, 2.0], [1.0])
