"""Accelerator: instances, prices, and tensors that live on chip."""

import re
from dataclasses import replace

import pytest

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from tests.mapping.eyeriss_like import ALL, eyeriss_like


def test_levels_know_their_fanout_and_block() -> None:
    eyeriss = eyeriss_like()
    assert [eyeriss.total_instances(index) for index in range(7)] == [168, 168, 168, 14, 1, 1, 1]
    assert eyeriss.level("shared_glb").block == 8
    assert eyeriss.level("psum_spad").update_price_pj == 0.2191
    assert replace(eyeriss.level("psum_spad"), update_pj=0.3).update_price_pj == 0.3


def test_a_resident_tensor_has_no_level_outside_its_home() -> None:
    eyeriss = eyeriss_like()
    inner = eyeriss.resident("shared_glb", ("inputs",), 1000)
    glb, dram = inner.level("shared_glb"), inner.level("DRAM")
    assert (glb.holds, glb.words, glb.keeps) == (("inputs",), 1000, ("inputs", "outputs"))
    assert dram.keeps == ("weights", "outputs")
    assert eyeriss.level("DRAM").keeps == ALL
    text = "eyeriss_like: level 'shared_glb' does not keep weights"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        eyeriss.resident("shared_glb", ("weights",), 0)


def test_refusals() -> None:
    dram = StorageLevel("dram", ALL)
    with pytest.raises(ValueError, match=r"^a: level names must differ, dram given$"):
        Accelerator("a", (dram, dram), 1)
    with pytest.raises(ValueError, match=r"^a: level names must differ, none given$"):
        Accelerator("a", (), 1)
    with pytest.raises(ValueError, match=r"^a: the outermost level 'dram' must keep all tensors$"):
        Accelerator("a", (replace(dram, keeps=("inputs",)),), 1)
    with pytest.raises(KeyError, match=r"eyeriss_like has no level 'l2' \(has: psum_spad, weights_spad"):
        eyeriss_like().level("l2")
