"""The front door of the cost models: dispatch, options, and the conformance suite on every preset."""

from __future__ import annotations

import pickle

import pytest

from bitjoule.energy import CostOptions, Infeasible, cost
from bitjoule.hardware import load, presets
from tests.energy.conformance import CostModelConformance
from tests.energy.networks import moons_net, reference_net, residual_net, resnet18


@pytest.mark.parametrize("name", presets())
class TestEveryPreset(CostModelConformance):
    """Every shipped hardware keeps the contract."""


def test_options_choose_the_residency() -> None:
    net = residual_net(8, side=32, channels=64)
    hardware = load("braintta22")
    best, none = cost(net, hardware), cost(net, hardware, options=CostOptions(residency="none"))
    assert best.energy_pj < none.energy_pj
    with pytest.raises(ValueError, match="residency must be optimal, none or ideal, not 'greedy'"):
        CostOptions(residency="greedy")  # type: ignore[arg-type]


def test_what_does_not_fit_is_infeasible_and_pickles() -> None:
    net = moons_net((1,), (8,), 16, side=8)
    with pytest.raises(Infeasible) as caught:
        cost(net, load("braintta22"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.layer, str(again)) == ("block1.conv1", str(caught.value))
    assert cost(net, load("moons-4mb")).energy_pj > 0


def test_dram_share_grows_when_memory_shrinks() -> None:
    shares = [
        cost(reference_net(8), load(f"moons-{size}")).dram_share
        for size in ("unbounded", "4mb", "2mb", "1mb")
    ]
    assert shares == sorted(shares)


def test_resnet18_weights_cost_what_the_spec_says() -> None:
    # energy.md 5.2 [derived]: core at b bits, first, downsample and last at 8: MB and uJ at 4 pJ/bit
    for bits, megabytes, microjoules in (
        (1, 2.07, 66),
        (2, 3.44, 110),
        (4, 6.19, 198),
        (8, 11.68, 374),
        (16, 22.66, 725),
    ):
        body = "BIPOLAR" if bits == 1 else f"INT{bits}"
        size = sum(layer.weight_elements * layer.weight_bits for layer in resnet18(body, "INT8"))
        assert size / 8e6 == pytest.approx(megabytes, abs=6e-3)
        assert 4 * size / 1e6 == pytest.approx(microjoules, abs=0.6)
