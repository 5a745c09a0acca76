"""Stillmaker and Baas 2017: golden factors at 0.8 V (energy.md 3.3) and the fit's range."""

import pytest

from bitjoule.hardware.technology import COEFFICIENTS, energy_factor


@pytest.mark.parametrize(
    ("start", "end", "golden"),
    [(65, 45, 0.806025), (45, 16, 0.173548), (45, 28, 0.513247), (45, 22, 0.294108), (22, 16, 0.590082)],
)
def test_golden_factors(start: int, end: int, golden: float) -> None:
    assert energy_factor(start, end) == pytest.approx(golden, abs=6e-7)


def test_factors_compose_and_invert() -> None:
    there, back = energy_factor(65, 28, to_vdd_v=0.9), energy_factor(28, 65, from_vdd_v=0.9)
    assert there * back == pytest.approx(1, rel=1e-15)
    assert energy_factor(40, 40) == 1


def test_smaller_nodes_cost_less_at_one_voltage() -> None:
    factors = [energy_factor(130, node) for node in sorted(COEFFICIENTS, reverse=True)]
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize(
    ("node", "vdd", "text"),
    [
        (5, 0.8, "technology scaling covers 7..130 nm, not 5 nm"),
        (180, 0.8, "technology scaling covers 7..130 nm, not 180 nm"),
        (45, 1.3, "technology scaling covers 0.5..1.2 V, not 1.3 V"),
        (45, float("nan"), "technology scaling covers 0.5..1.2 V, not nan V"),
    ],
)
def test_outside_the_fit(node: float, vdd: float, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        energy_factor(45, node, to_vdd_v=vdd)
