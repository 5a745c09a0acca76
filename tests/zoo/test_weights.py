"""Published weights load, hostile and foreign files are refused with what is wrong."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bitjoule import zoo
from bitjoule.zoo.weights import WeightsError, load_weights


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never run",)


def test_safetensors_and_checkpoints_round_trip(tmp_path: Path) -> None:
    net = zoo.resnet8(width=0.5)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    wrapped = {"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "net.th")
    torch.save(net.state_dict(), tmp_path / "bare.pt")
    for file in ("net.safetensors", "net.th", "bare.pt"):
        other = zoo.build("resnet8", {"width": 0.5}, seed=5)
        load_weights(other, tmp_path / file)
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_another_network_is_refused_and_left_alone(tmp_path: Path) -> None:
    save_file(zoo.resnet8().state_dict(), tmp_path / "net.safetensors")
    wide = zoo.resnet8(width=2.0)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    with pytest.raises(
        WeightsError, match=r"not of this ResNet8: other shapes: block1.bn1.bias \(16,\) for \(32,\)"
    ):
        load_weights(wide, tmp_path / "net.safetensors")
    assert all(torch.equal(before[key], value) for key, value in wide.state_dict().items())
    with pytest.raises(
        WeightsError, match=r"missing keys: classifier.weight.* and \d+ more; unexpected keys: block1"
    ):
        load_weights(zoo.tfc(), tmp_path / "net.safetensors")


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"weight": Hostile()}}, tmp_path / "net.th")
    with pytest.raises(WeightsError, match="unreadable weights"):
        load_weights(zoo.tfc(), tmp_path / "net.th")
    assert capsys.readouterr().out == ""


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"no weight file '.*absent.th': expected a .safetensors file or a torch"
    ):
        load_weights(zoo.tfc(), tmp_path / "absent.th")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(WeightsError, match=r"cut\.safetensors: unreadable weights"):
        load_weights(zoo.tfc(), tmp_path / "cut.safetensors")
    (tmp_path / "empty.th").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"empty.th: unreadable weights"):
        load_weights(zoo.tfc(), tmp_path / "empty.th")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(WeightsError, match=r"list.pkl: (unreadable weights|holds a list)"):
        load_weights(zoo.tfc(), tmp_path / "list.pkl")
    torch.save({"weight": torch.ones(1), "epoch": 3}, tmp_path / "mixed.th")
    with pytest.raises(WeightsError, match="entry 'epoch' is a int, not a tensor with a name"):
        load_weights(zoo.tfc(), tmp_path / "mixed.th")


def test_pretrained_resnet20_loads(bitjoule_data: Path) -> None:
    published = zoo.resnet20()
    load_weights(published, bitjoule_data / "weights" / "resnet20-12fca82f.th")
    tuned = zoo.resnet20()
    load_weights(tuned, bitjoule_data / "weights" / "resnet20-cifar10-jpeg.safetensors")
    assert not torch.equal(published.linear.weight, tuned.linear.weight)
    assert float(published.bn1.running_var.min()) > 0
