"""SVA weights: rows of w*, and one budget of terms over all layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.formats import approximate
from bitjoule.network import Network
from bitjoule.quant.rounding import integer_terms
from bitjoule.train.ptq import PRESETS, PtqError, QuantizedNetwork, configured, ptq
from bitjoule.train.ptq.save import save_quantized
from tests.train.ptq.conftest import noise

SCHEME = "wSVA1_CSD_STRICTa8[first=same,last=same]"
LAYERS = ("stem", "conv1", "conv2", "grouped", "head")


def terms(net: QuantizedNetwork) -> int:
    """Signed digits of all weights, counted anew."""
    total = 0
    for layer in LAYERS:
        for row in net.module.get_parameter(f"{layer}.weight").detach().flatten(1).double().numpy():
            done = approximate(row, 32.0, count="csd")
            assert (done.values() == row).all()
            total += done.terms
    return total


def test_rows_of_the_target_are_nearer(tiny: Network, images: Tensor) -> None:
    plain = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], ["rounding=nearest"]))
    found = ptq(tiny, images, SCHEME)
    assert noise(tiny, found, images) < noise(tiny, plain, images)
    assert {row.method for row in found.quantization_report.rows if row.role == "weight"} == {
        "sva, towards w*"
    }


def test_a_budget_is_kept(tiny: Network, images: Tensor) -> None:
    size = sum(tiny.module.get_parameter(f"{layer}.weight").numel() for layer in LAYERS)
    found = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], [f"budget_terms={size}"]))
    assert 0.8 * size < terms(found) <= size
    assert any(note.startswith(f"SVA: {size} terms asked, ") for note in found.quantization_report.notes)
    more = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], [f"budget_terms={2 * size}"]))
    assert noise(tiny, more, images) < noise(tiny, found, images)


def test_terms_of_an_integer_format(tiny: Network, images: Tensor) -> None:
    found = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], ["iso_terms=INT4"]))
    folded = {}
    for layer, norm in zip(LAYERS[:4], ("bn", "bn1", "bn2", "bn3"), strict=True):
        bn = tiny.module.get_submodule(norm)
        factor = bn.weight / (bn.running_var + bn.eps).sqrt()  # type: ignore[operator,union-attr]
        folded[layer] = tiny.module.get_parameter(f"{layer}.weight") * factor.view(-1, 1, 1, 1)  # type: ignore[union-attr]
    folded["head"] = tiny.module.get_parameter("head.weight")
    asked = sum(integer_terms(w.detach().flatten(1).double().numpy()) for w in folded.values())
    assert any(note.startswith(f"SVA: {asked} terms asked") for note in found.quantization_report.notes)
    assert terms(found) <= asked


def test_the_checkpoint_holds_the_rows(tiny: Network, images: Tensor, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from safetensors.torch import load_file

    found = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], ["iso_terms=INT4"]))
    folder = save_quantized(tmp_path / "out", found)
    state = load_file(folder / "weights.safetensors")
    assert torch.equal(state["conv1.weight"], found.state_dict()["conv1.weight"])
    copy = found.clone()
    with torch.no_grad():
        assert torch.equal(copy(images), found(images))


def test_a_budget_needs_such_weights(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, images, "w4a8", config=configured(PRESETS["fast"], ["budget_terms=10"]))
    assert str(error.value) == (
        "ptq: budget_terms and iso_terms are for SVA weights; take a scheme such as wSVA1a8"
    )
