"""Checkpoints: exact there and back, atomic, no pickle."""

import errno
import resource

import pytest
import torch
from safetensors import safe_open

from bitjoule.train import PRESETS, CheckpointError, recipe
from bitjoule.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    save_weights,
    write_json,
)
from bitjoule.train.parameters import make_optimizer


def test_round_trip(tmp_path):
    tensors = {
        "a": {"x.y": torch.randn(3), "n": torch.tensor(7)},
        "b": {"z": torch.zeros(0, dtype=torch.uint8)},
    }
    document = {"step": 3, "history": [{"loss": float("nan")}], "best": None}
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, Checkpoint(document, tensors))
    found = load_checkpoint(path)
    assert found.document["step"] == 3 and found.document["best"] is None
    assert {s: set(t) for s, t in found.tensors.items()} == {s: set(t) for s, t in tensors.items()}
    for section, values in tensors.items():
        for key, value in values.items():
            assert (
                torch.equal(found.section(section)[key], value)
                and found.section(section)[key].dtype == value.dtype
            )
    assert found.section("absent") == {}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, Checkpoint({"step": 1}, {"a": {"x": torch.ones(2)}}))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bitjoule.train.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, Checkpoint({"step": 2}, {"a": {"x": torch.zeros(2)}}))
    assert load_checkpoint(path).document["step"] == 1


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"{}" * 40])
def test_anything_else_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.safetensors: unreadable checkpoint \(.*\); delete it"
    ):
        load_checkpoint(path)


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(1)})
    with pytest.raises(
        CheckpointError, match=r"schema None is not 'bitjoule\.checkpoint/1'; delete the file"
    ):
        load_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["a"]


@pytest.mark.parametrize("name", ["qat_default", "moons2017", "smoke"])
def test_an_optimizer_continues_exactly(mlp, name):
    def steps(net, optimizer, seeds):
        for seed in seeds:
            x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            net.eval()(x).square().sum().backward()
            optimizer.step()

    settings = recipe(name, lr=1e-4)
    whole, first = mlp.clone(), mlp.clone()
    one = make_optimizer(whole, settings)
    steps(whole, one, range(6))
    two = make_optimizer(first, settings)
    steps(first, two, range(3))
    second = first.clone()
    three = make_optimizer(second, settings)
    restore_optimizer(three, optimizer_tensors(two))
    steps(second, three, range(3, 6))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_fresh_optimizer_has_nothing_to_restore(mlp):
    optimizer = make_optimizer(mlp, PRESETS["qat_default"])
    assert optimizer_tensors(optimizer) == {}
    restore_optimizer(optimizer, {})


def test_write_json_is_stable(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  1.5\n ],\n "b": 1\n}\n'


@pytest.mark.parametrize("write", ["checkpoint", "weights"])
def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(tmp_path, write):
    path = tmp_path / "weights.safetensors"

    def save(count):
        tensors = {"a": torch.zeros(count)}
        if write == "weights":
            save_weights(path, tensors)
        else:
            save_checkpoint(path, Checkpoint({}, {"model": tensors}))

    save(1)
    old = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # safetensors really finds no room
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save(100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
