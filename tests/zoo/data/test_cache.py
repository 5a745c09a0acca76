"""The cache of decoded images: hit, damage, concurrent writers, a folder that cannot be written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from bitjoule.zoo import load_dataset
from bitjoule.zoo.data.cache import cache_folder, load_cached, store_cached
from bitjoule.zoo.data.records import Encoded

from . import tiny


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_round_trip_and_damage() -> None:
    array = tiny.images(3, 5)
    assert load_cached("key", "train") is None
    store_cached("key", "train", array)
    assert np.array_equal(load_cached("key", "train"), array)
    file = cache_folder("key") / "train.npy"
    content = file.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        file.write_bytes(damaged)
        assert load_cached("key", "train") is None
    store_cached("key", "train", array)
    assert np.array_equal(load_cached("key", "train"), array)
    (cache_folder("key") / "train.json").write_text("[]")
    assert load_cached("key", "train") is None
    assert sorted(path.name for path in cache_folder("key").iterdir()) == ["train.json", "train.npy"]


def test_writers_at_once_leave_a_whole_entry() -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store_cached("shared", "train", tiny.images(4, 5)), range(60)))
    assert np.array_equal(load_cached("shared", "train"), tiny.images(4, 5))
    assert len(list(cache_folder("shared").iterdir())) == 2


def test_an_unwritable_folder_warns(home: Path) -> None:
    (home / "cache").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="decoded images are not cached in"):
        store_cached("key", "train", tiny.images(1))


def test_second_load_decodes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[bytes | None] = [tiny.encode(image) for image in tiny.images(20)]
    tiny.write_parquet(home / "train.parquet", files, [i % 10 for i in range(20)])
    tiny.write_parquet(home / "test.parquet", files[:4], [0, 1, 2, 3])
    limited = load_dataset("cifar10", home, limit_train=3, limit_val=1, limit_test=2)
    assert not (home / "cache").exists(), "a limited load decodes only what it keeps and caches nothing"
    first = load_dataset("cifar10", home)

    def refuse(self: Encoded, indices: object, resolution: int | None) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(Encoded, "select", refuse)
    second = load_dataset("cifar10", home)
    again = load_dataset("cifar10", home, limit_train=3, limit_val=1, limit_test=2)
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(limited.train.images, again.train.images)
    assert limited.manifest_hash == again.manifest_hash != first.manifest_hash == second.manifest_hash


@pytest.mark.parametrize("order", [("parquet", "mnist"), ("mnist", "parquet")])
def test_one_folder_read_as_two_kinds_is_two_datasets(home: Path, order: tuple[str, str]) -> None:
    files: list[bytes | None] = [tiny.encode(image) for image in tiny.images(20, 8)]
    tiny.write_parquet(home / "train.parquet", files, [i % 10 for i in range(20)])
    tiny.write_parquet(home / "test.parquet", files[:4], [0, 1, 2, 9])
    sets = {kind: load_dataset(kind, home) for kind in (*order, *order)}  # the second time from the cache
    assert (sets["parquet"].input_shape, sets["mnist"].input_shape) == ((1, 3, 8, 8), (1, 1, 8, 8))
    assert sets["parquet"].manifest_hash != sets["mnist"].manifest_hash
    assert len(list((home / "cache" / "bitjoule" / "data").iterdir())) == 2
