"""N:M pruning after training: the mask holds through every way of rounding, survivors are solved anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.quant.pruning import nm_mask
from bitjoule.train.ptq import PRESETS, PtqError, QuantizedNetwork, configured, ptq, verify_widths
from bitjoule.workload.sparsity import Sparsity
from tests.train.ptq.conftest import noise

PRUNED = ("conv1", "conv2")
BEST = configured(PRESETS["best"], ["iterations=8"])


def most_alive(net: QuantizedNetwork, layer: str) -> int:
    weight = net.module.get_parameter(f"{layer}.weight")
    blocks = (weight != 0).movedim(1, -1).reshape(-1, 4)
    return int(blocks.sum(1).max())


@pytest.mark.parametrize("settings", ["rounding=nearest", "rounding=gptq", "rounding=adaround"])
def test_the_mask_holds(tiny: Network, images: Tensor, settings: str) -> None:
    config = configured(PRESETS["fast"], [settings, "refine=flips"])
    found = ptq(tiny, images, "w4a8[prune=2:4]", config=config)
    assert [most_alive(found, layer) for layer in PRUNED] == [2, 2]
    assert verify_widths(found, images) == len(found.quantization_report.rows)
    assert "not pruned, because it reads the network input: stem" in found.quantization_report.notes


def test_blocks_are_learned_behind_the_mask(tiny: Network, images: Tensor) -> None:
    found = ptq(tiny, images, "w4a4", config=configured(BEST, ["prune=2:4"]))
    assert found.quantization_report.scheme == "w4a4[prune=2:4]"
    assert [most_alive(found, layer) for layer in PRUNED] == [2, 2]


def test_survivors_do_the_work_of_the_pruned(tiny: Network, images: Tensor) -> None:
    plain = tiny.clone()
    with torch.no_grad():
        for layer in PRUNED:
            weight = plain.module.get_parameter(f"{layer}.weight")
            weight.mul_(nm_mask(weight, Sparsity(2, 4)))
    by_magnitude = noise(tiny, ptq(plain, images, "w8a8"), images)
    assert noise(tiny, ptq(tiny, images, "w8a8[prune=2:4]"), images) < 0.7 * by_magnitude


def test_without_images_the_greatest_weights_stay(tiny: Network) -> None:
    settings = ["synthetic_level=1", "bias_correction=analytic", "rounding=nearest", "refine=none"]
    found = ptq(tiny, None, "w8a8[prune=2:4]", config=configured(PRESETS["data-free"], settings))
    assert [most_alive(found, layer) for layer in PRUNED] == [2, 2]


def test_a_rule_that_is_none(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, images, "w4a4", config=configured(PRESETS["fast"], ["prune=half"]))
    assert str(error.value) == (
        "ptq: prune must be none, N:M such as 2:4 (of every 4 weights 2 stay) or channels:0.3, not 'half'"
    )
    with pytest.raises(PtqError, match="ptq: prune: sparsity must be N:M with 1 <= N < M, such as 2:4"):
        ptq(tiny, images, "w4a4", config=configured(PRESETS["fast"], ["prune=4:2"]))
