"""Whole datasets: digits, hashes, cards, and the real MNIST and CIFAR-10 where they are at hand."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from bitjoule import zoo
from bitjoule.zoo.data import DataError, Dataset, Preprocessing, batches, data_card, load_dataset

LIMITS = {"limit_train": 40, "limit_val": 10, "limit_test": 20}
DIGITS_HASH = "80490d7c6064bd1376984e16336359aa9877df137d1cb08524eda169de4e6032"
# numpy only: a data reader needs no torch
NUMPY_ONLY = [
    "arrays_pickle",
    "cache",
    "cifar",
    "digits",
    "idx",
    "imagefolder",
    "layout",
    "parquet",
    "records",
    "resize",
    "split",
    "svhn",
]


def rows(data: Dataset) -> list[set[bytes]]:
    return [
        {image.numpy().tobytes() for image in part.images}
        for part in (data.train, data.validation, data.test)
    ]


def test_digits() -> None:
    data = load_dataset("digits")
    assert (len(data.train), len(data.validation), len(data.test)) == (1_293, 144, 360)
    assert (data.classes, data.input_shape, data.lossy) == (10, (1, 1, 8, 8), False)
    train, validation, test = rows(data)
    assert not (train & validation) and not (train & test) and not (validation & test)
    assert all(len(set(part.labels.tolist())) == 10 for part in (data.train, data.validation, data.test))
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)
    assert set(data.train.images.unique().tolist()) <= {round(v * 255 / 16) for v in range(17)}


def test_digits_hash_is_stable() -> None:
    # pinned: another value means that other images, or another split, would share stored results
    assert load_dataset("digits").manifest_hash == DIGITS_HASH


def test_hash_names_what_the_splits_hold() -> None:
    plain = load_dataset("digits")
    keys = {
        plain.manifest_hash,
        load_dataset("digits", validation=0.2).manifest_hash,
        load_dataset("digits", resolution=4).manifest_hash,
        load_dataset("digits", limit_train=100).manifest_hash,
        load_dataset("digits", limit_train=100, seed=1).manifest_hash,
    }
    assert len(keys) == 5
    assert load_dataset("digits", seed=1).manifest_hash == plain.manifest_hash
    other = load_dataset("digits", preprocessing="unit")
    assert other.manifest_hash == plain.manifest_hash and other.content_key != plain.content_key


def test_limits_keep_parts_of_the_same_splits() -> None:
    whole, part = load_dataset("digits"), load_dataset("digits", **LIMITS)
    assert (len(part.train), len(part.validation), len(part.test)) == (40, 10, 20)
    assert all(few <= all_of for few, all_of in zip(rows(part), rows(whole), strict=True))


def test_resolution_and_preprocessing() -> None:
    data = load_dataset("digits", resolution=14, preprocessing=Preprocessing("standard", (0.3,), (0.4,)))
    assert data.input_shape == (1, 1, 14, 14)
    assert data.preprocessing.mean == (0.3,)
    with pytest.raises(DataError, match="resolution must be at least 1 pixel, not 0"):
        load_dataset("digits", resolution=0)


def test_to_moves_every_tensor() -> None:
    moved = load_dataset("digits", **LIMITS).to("meta")
    for part in (moved.train, moved.validation, moved.test):
        assert part.images.device.type == part.labels.device.type == "meta"


def test_card_is_json_and_warns_of_lossy_sources() -> None:
    data = load_dataset("digits", **LIMITS)
    card = data_card(data)
    assert json.loads(json.dumps(card)) == card
    assert card["train"] == 40 and "note" not in card
    assert "about ten points" in str(data_card(dataclasses.replace(data, lossy=True))["note"])


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_readers_do_not_import_torch(name: str) -> None:
    source = Path(zoo.__file__).parent / "data" / f"{name}.py"
    assert "import torch" not in source.read_text(encoding="utf-8")


def test_a_network_learns_the_digits() -> None:
    data = load_dataset("digits")
    net = zoo.build("tfc", {"inputs": 64}, seed=0).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for images, labels in batches(data.train, 64, preprocessing=data.preprocessing, generator=generator):
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(net(images), labels))
            optimizer.step()
    assert accuracy(net, data) > 0.9


def accuracy(net: torch.nn.Module, data: Dataset) -> float:
    net.eval()
    with torch.no_grad():
        hits = sum(
            int((net(images).argmax(1) == labels).sum())
            for images, labels in batches(data.test, 250, preprocessing=data.preprocessing)
        )
    return hits / len(data.test)


@pytest.mark.parametrize(
    ("kind", "channels", "size", "lossy"), [("cifar10", 3, 32, True), ("mnist", 1, 28, False)]
)
def test_real_data(kind: str, channels: int, size: int, lossy: bool, bitjoule_data: Path) -> None:
    data = load_dataset(kind, bitjoule_data / kind, **LIMITS)
    assert data.input_shape == (1, channels, size, size)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 10, 20)
    assert data.lossy is lossy
    assert load_dataset(kind, bitjoule_data / kind, **LIMITS).manifest_hash == data.manifest_hash


def test_pretrained_resnet20_keeps_its_accuracy(bitjoule_data: Path) -> None:
    # 88.45 % on all 10,000 JPEG test images with ImageNet's mean and std; 400 images: +-4 standard errors
    data = load_dataset(
        "cifar10",
        bitjoule_data / "cifar10",
        preprocessing="standard",
        limit_train=1,
        limit_val=1,
        limit_test=400,
    )
    net = zoo.resnet20()
    zoo.load_weights(net, bitjoule_data / "weights" / "resnet20-cifar10-jpeg.safetensors")
    assert accuracy(net, data) == pytest.approx(0.8845, abs=0.064)
