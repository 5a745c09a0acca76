"""What was saved comes back bit for bit; what is not a whole result, or of another network, is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bitjoule as bj
from bitjoule.network import Network, capture
from bitjoule.train.ptq import PRESETS, PtqError, configured, ptq
from bitjoule.train.ptq import save as save_module
from bitjoule.train.ptq.load import load_quantized
from bitjoule.train.ptq.save import save_quantized
from bitjoule.workload import Workload
from tests.train.ptq.conftest import Tiny


@pytest.mark.parametrize(
    ("scheme", "settings"),
    [
        ("w4a4", []),
        ("w8a8[prune=2:4]", []),
        ("wPOT4a8", ["split_ratio=0.1"]),
        ("wSVA1_CSD_STRICTa8", ["iso_terms=INT4"]),
        ("hpr-w4a4", ["equalize_always=true"]),
        ("wFP8_E4M3a8", []),
    ],
)
def test_bit_for_bit(tiny: Network, images: Tensor, tmp_path: Path, scheme: str, settings: list[str]) -> None:
    made = ptq(tiny, images, scheme, config=configured(PRESETS["fast"], settings))
    found = load_quantized(save_quantized(tmp_path, made), tiny)
    with torch.no_grad():
        assert torch.equal(found(images), made(images))
    assert str(found.quantization_report.rows) == str(made.quantization_report.rows)  # NaN where not known
    assert found.quantization_report.config == made.quantization_report.config
    assert found.quantized and found.scheme == made.scheme
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in tmp_path.iterdir())


def test_images_without_negative_values_and_untrained_weights(
    tiny: Network, images: Tensor, tmp_path: Path
) -> None:
    positive = images - images.min()
    with pytest.warns(match="look unlike the training data"):
        made = ptq(tiny, positive, "w4a8")
    other = capture(Tiny().eval(), input_shape=(1, 3, 12, 12), name="called otherwise")
    found = load_quantized(save_quantized(tmp_path, made), other)
    with torch.no_grad():
        assert torch.equal(found(positive), made(positive))


def test_the_workload_is_that_of_the_weights(tiny: Network, images: Tensor, tmp_path: Path) -> None:
    made = ptq(tiny, images, "wSVA1_CSD_STRICTa8")
    save_quantized(tmp_path, made)
    workload = Workload.from_json(json.loads((tmp_path / "workload.json").read_text()))
    assert any(layer.measured_weight_bits for layer in workload.layers)
    assert bj.energy(workload, hardware="moons-4mb").energy_uj > 0


def test_a_writing_that_stops_leaves_no_card(
    tiny: Network, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ptq(tiny, images, "w8a8")
    save_quantized(tmp_path, made)

    def stop(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(save_module, "_workload", stop)
    with pytest.raises(KeyboardInterrupt):
        save_quantized(tmp_path, made)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["weights.safetensors", "workload.json"]
    with pytest.raises(
        PtqError, match=r"holds no card.json: expected the folder of a finished bitjoule ptq -o"
    ):
        load_quantized(tmp_path, tiny)


def test_other_networks_and_other_files(tiny: Network, images: Tensor, tmp_path: Path) -> None:
    made = ptq(tiny, images, "w8a8")
    save_quantized(tmp_path, made)
    other = capture(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), input_shape=(1, 3, 12, 12), name="other"
    )
    with pytest.raises(PtqError, match=r"this result was not made of this other: give the float network"):
        load_quantized(tmp_path, other.eval())
    card = json.loads((tmp_path / "card.json").read_text())
    for text, reason in (
        ("{", "not JSON"),
        (
            json.dumps({**card, "schema": "x"}),
            "schema 'x' is not 'bitjoule.ptq/1'; run bitjoule ptq -o again",
        ),
        (json.dumps({**card, "config": {"new": 1}}), "not a card of this version of bitjoule"),
    ):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(PtqError, match=reason):
            load_quantized(tmp_path, tiny)
