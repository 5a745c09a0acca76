"""Proxies: golden vectors of search.md section 9 and energy.md section 6."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.search.proxies import PROXIES, kendall, proxies, regret, spearman
from bitjoule.workload import Layer
from bitjoule.workload.sparsity import Sparsity

ENERGY = [10, 14, 18, 25, 40, 33]
ACCURACY = [0.60, 0.64, 0.63, 0.70, 0.72, 0.69]
PROXY = [4, 5, 3, 9, 8, 7]


@dataclass(frozen=True)
class Counted:
    macs: int
    stored_weight: str = ""
    weight_elements: int = 10
    input_elements: int = 20
    output_elements: int = 30
    weight_bits: int = 4
    input_bits: int = 8
    output_bits: int = 2

    @property
    def weight_storage_bits(self) -> int:
        return self.weight_elements * self.weight_bits


def test_golden_of_the_search_document() -> None:
    assert spearman(PROXY, ENERGY) == pytest.approx(0.6571428571428573, rel=1e-9)
    assert kendall(PROXY, ENERGY) == pytest.approx(0.4666666666666667, rel=1e-9)
    judged = regret(list(zip(ENERGY, ACCURACY, strict=True)), PROXY)
    assert judged.targets == (0.60, 0.64, 0.70, 0.72)
    assert judged.values == pytest.approx((1.8, 1.0, 1.6, 1.0), rel=1e-9)
    assert judged.max == pytest.approx(1.8)
    assert judged.median == pytest.approx(1.3)


def test_golden_of_the_energy_document() -> None:
    accuracy, energy = [70, 69, 66, 68.5, 60, 64], [100, 55, 30, 62, 18, 34]
    points = list(zip(energy, accuracy, strict=True))
    first, second = [64, 32, 16, 16, 4, 8], [1, 1, 1, 1, 1.3, 1]
    assert spearman(first, energy) == pytest.approx(0.8116794499, abs=1e-10)
    assert kendall(first, energy) == pytest.approx(0.6900655593, abs=1e-10)
    judged = regret(points, first)
    assert judged.targets == (60, 66, 69, 70)
    assert judged.values == pytest.approx((1, 2.0666667, 1, 1), abs=1e-7)
    assert spearman(second, energy) == pytest.approx(-0.6546536708, abs=1e-10)
    assert kendall(second, energy) == pytest.approx(-0.5773502692, abs=1e-10)
    assert regret(points, second).values == pytest.approx((5.5555556, 3.3333333, 1.8181818, 1), abs=1e-7)


def test_a_weight_that_two_layers_read_is_stored_once() -> None:
    once, twice = proxies([Counted(1000, "a")]), proxies([Counted(1000, "a"), Counted(1000, "a")])
    assert twice["bops"] == 2 * once["bops"]
    assert (twice["params"], twice["model_bits"]) == (once["params"], once["model_bits"])


def test_formulas() -> None:
    values = proxies([Counted(1000, "a"), Counted(2000, "b", weight_bits=8, output_elements=100)])
    assert tuple(values) == PROXIES
    bops = 1000 * 4 * 8 + 2000 * 8 * 8
    assert values == {
        "macs": 3000,
        "bops": bops,
        "ace": bops,
        "aqt_compute": bops / 256,
        "model_bits": 10 * 4 + 10 * 8,
        "activation_bits": 30 * 2 + 100 * 2,
        "peak_activation_bits": 20 * 8 + 100 * 2,
        "cpu64": 3000 * 8 / 64,
        "params": 20,
    }


@pytest.mark.parametrize(("bits", "gbops"), [(16, 77.0), (8, 19.25), (4, 4.81), (2, 1.20)])
def test_golden_bops_of_mobilenet_v2(bits: int, gbops: float) -> None:
    """MobileNetV2 x1.0 at 224x224: 300,774,272 MACs (studies.md S2, derived two ways)."""
    values = proxies([Counted(300_774_272, weight_bits=bits, input_bits=bits)])
    assert values["bops"] / 1e9 == pytest.approx(gbops, abs=0.005)


def test_a_constant_side_has_no_correlation() -> None:
    assert math.isnan(spearman([1, 1], [1, 2]))
    assert math.isnan(kendall([1, 2], [3, 3]))
    with pytest.raises(ValueError, match="a correlation needs pairs: 1 proxies, 2 energies"):
        kendall([1], [1, 2])


def test_regret_refuses_an_accuracy_nobody_reaches() -> None:
    with pytest.raises(ValueError, match=r"no point reaches accuracy 0\.9; the greatest is 0\.72"):
        regret(list(zip(ENERGY, ACCURACY, strict=True)), PROXY, targets=[0.9])


@pytest.mark.parametrize(
    ("options", "bits"), [({}, 4), ({"sparsity": Sparsity(2, 4)}, 3), ({"group": 16}, 6)]
)
def test_model_bits_are_what_is_stored(options: dict[str, Any], bits: int) -> None:
    text = f"INT4/group{options['group']}" if "group" in options else "INT4"
    layer = Layer("fc", "linear", 1, 8, 32, 1, 1, 1, 1, weight_format=parse_tensor_format(text))
    stored = replace(layer, sparsity=options.get("sparsity"))
    assert proxies([stored])["model_bits"] == 8 * 32 * bits
    assert proxies([stored])["params"] == 8 * 32
